package fts

// volatile says whether a server may change a property when it imports an item, so that it says nothing about whether two
// items are the same. The digest leaves these out.
func volatile(in place, id uint16, named bool) bool {
	if named {
		return false
	}
	switch id {
	case TagCreationTime, // when this copy was made
		TagLastModified,     // set by every save
		TagRecordKey,        // identifies the row in its store
		TagMappingSignature, // identifies the store
		TagInstanceKey,      // identifies the row in a table
		TagObjectType,       // computed
		TagAccess,           // rights of whoever asks
		TagAccessLevel,      // rights of whoever asks
		TagDnPrefix,         // where the exporting server keeps its legacy names
		TagEcWarning:        // a word of the exporting server about this one export
		return true
	}
	switch in {
	case inRecipient:
		return id == TagRowID // renumbered; the order of the rows counts
	case inAttachment:
		return id == TagAttachSize // computed, with the store's own overhead
	}
	return volatileOfMessage(id)
}

func volatileOfMessage(id uint16) bool {
	switch id {
	case TagEntry, // names the item in its mailbox
		TagParentEntry,       // names the folder in its mailbox
		TagMid,               // the item's number in its store
		TagParentFid,         // the folder's number in its store
		TagSourceKey,         // the item's number, with the store's GUID
		TagParentSourceKey,   // the folder's number, with the store's GUID
		TagChangeKey,         // set by every save
		TagChangeNumber,      // set by every save
		TagPredecessors,      // grows with every save
		TagMessageSize,       // computed, with the store's own overhead
		TagHasAttachments,    // computed from the attachments
		TagDisplayTo,         // computed from the recipients
		TagDisplayCc,         // computed from the recipients
		TagDisplayBcc,        // computed from the recipients
		TagSubjectPrefix,     // computed from the subject
		TagNormalizedSubject, // computed from the subject
		TagArticleNumber,     // counts the items of a folder
		TagConversation,      // computed from topic and index
		TagCreatorName,       // whoever made this copy
		TagCreatorEntry,      // whoever made this copy
		TagLastModifierName,  // whoever saved last
		TagLastModifierEntry: // whoever saved last
		return true
	}
	return false
}
