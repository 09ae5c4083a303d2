package ewstest

// textOf returns Exchange's English sentence for a response code.
func textOf(code string) string {
	switch code {
	case "ErrorAccessDenied":
		return "Access is denied. Check credentials and try again."
	case "ErrorBatchProcessingStopped":
		return "Batch processing is stopped because the time limit was exceeded."
	case "ErrorCannotUseFolderIdForItemId":
		return "Id must be an item id."
	case "ErrorCannotUseItemIdForFolderId":
		return "Id must be a folder id."
	case "ErrorContentConversionFailed":
		return "Content conversion failed."
	case "ErrorContentIndexingNotEnabled":
		return "Content indexing is not enabled for the mailbox."
	case "ErrorCorruptData":
		return "The data is corrupt."
	case "ErrorDeleteDistinguishedFolder":
		return "Distinguished folders cannot be deleted."
	case "ErrorDataSizeLimitExceeded":
		return "The data is larger than the allowed limit."
	case "ErrorExceededConnectionCount":
		return "You have exceeded the available concurrent connections for your account.  Try again once your other requests have completed."
	case "ErrorExceededFindCountLimit":
		return "The specified find count limit was exceeded."
	case "ErrorFolderExists":
		return "A folder with the specified name already exists."
	case "ErrorFolderNotFound":
		return "The specified folder could not be found in the store."
	case "ErrorFolderSave":
		return "Folder save failed."
	case "ErrorImpersonateUserDenied":
		return "The account does not have permission to impersonate the requested user."
	case "ErrorInternalServerError":
		return "An internal server error occurred. The operation failed."
	case "ErrorInvalidAttachmentId":
		return "The attachment Id is invalid."
	case "ErrorInvalidChangeKey":
		return "The change key is invalid."
	case "ErrorInvalidExchangeImpersonationHeaderData":
		return "ExchangeImpersonation SOAP header must be present for this type of OAuth token."
	case "ErrorInvalidExtendedProperty":
		return "The extended property attribute combination is invalid."
	case "ErrorInvalidFolderId":
		return "The folder id is invalid."
	case "ErrorInvalidIdMalformed":
		return "Id is malformed."
	case "ErrorInvalidIdEmpty":
		return "Id must be non-empty."
	case "ErrorInvalidIndexedPagingParameters":
		return "Indexed paging parameters are invalid. Offset must be zero or greater."
	case "ErrorInvalidFractionalPagingParameters":
		return "Fractional paging parameters are invalid."
	case "ErrorInvalidPagingMaxRows":
		return "MaxEntriesReturned must be greater than zero."
	case "ErrorInvalidPropertyRequest":
		return "Property is not valid for this object type."
	case "ErrorInvalidPropertySet":
		return "Set action is invalid for property."
	case "ErrorInvalidRequest":
		return "The request is invalid."
	case "ErrorInvalidServerVersion":
		return "The specified server version is invalid."
	case "ErrorInvalidSyncStateData":
		return "Synchronization state data is corrupt or otherwise invalid."
	case "ErrorInvalidUserPrincipalName":
		return "The user principal name (UPN) is not valid."
	case "ErrorInvalidUserSid":
		return "The user SID is not valid."
	case "ErrorInvalidOperation":
		return "The operation is invalid for this folder or item."
	case "ErrorIrresolvableConflict":
		return "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item."
	case "ErrorCannotEmptyFolder":
		return "The folder cannot be emptied."
	case "ErrorMoveCopyFailed":
		return "The move or copy operation failed."
	case "ErrorMoveDistinguishedFolder":
		return "Distinguished folders cannot be moved."
	case "ErrorIncorrectUpdatePropertyCount":
		return "An object within a change description must contain one and only one property to modify."
	case "ErrorInvalidPropertyAppend":
		return "Append action is invalid for property."
	case "ErrorInvalidPropertyDelete":
		return "Delete action is invalid for property."
	case "ErrorUpdatePropertyMismatch":
		return "The property path does not match the property that is to be updated."
	case "ErrorSendMeetingInvitationsRequired":
		return "SendMeetingInvitations attribute is required for calendar items."
	case "ErrorUnsupportedMimeConversion":
		return "MIME conversion is not supported for this item type."
	case "ErrorItemCorrupt":
		return "The item is corrupt."
	case "ErrorItemNotFound":
		return "The specified object was not found in the store."
	case "ErrorItemSave":
		return "The item save operation failed."
	case "ErrorMailboxMoveInProgress":
		return "The mailbox is currently being moved. Try again later."
	case "ErrorMimeContentInvalid":
		return "The MIME content is invalid."
	case "ErrorMimeContentInvalidBase64String":
		return "The MIME content is not a valid base64 string."
	case "ErrorMissingEmailAddress":
		return "When making a request as an account that does not have a mailbox, you must specify the mailbox primary SMTP address for any distinguished folder Ids."
	case "ErrorMissingArgument":
		return "An argument is missing."
	case "ErrorMessageDispositionRequired":
		return "MessageDisposition must be specified for this item type."
	case "ErrorAffectedTaskOccurrencesRequired":
		return "AffectedTaskOccurrences attribute is required for Task items."
	case "ErrorNameResolutionMultipleResults":
		return "Multiple results were found."
	case "ErrorSendMeetingCancellationsRequired":
		return "SendMeetingCancellations attribute is required for Calendar items."
	case "ErrorSendMeetingInvitationsOrCancellationsRequired":
		return "SendMeetingInvitationsOrCancellations attribute is required for calendar items."
	case "ErrorNameResolutionNoResults":
		return "No results were found."
	case "ErrorNonExistentMailbox":
		return "The SMTP address has no mailbox associated with it."
	case "ErrorNonPrimarySmtpAddress":
		return "The primary SMTP address must be specified when referencing a mailbox."
	case "ErrorNoPropertyTagForCustomProperties":
		return "The PropertyTag attribute cannot be used for custom properties."
	case "ErrorObjectTypeChanged":
		return "The object type changed."
	case "ErrorPublicFolderServerNotFound", "ErrorNoPublicFolderServerAvailable":
		return "No public folder server is available."
	case "ErrorParentFolderNotFound":
		return "The parent folder could not be found."
	case "ErrorQuotaExceeded":
		return "The mailbox has exceeded its quota."
	case "ErrorServerBusy":
		return "The server cannot service this request right now. Try again later."
	case "ErrorStaleObject":
		return "The object is stale."
	case "ErrorSyncFolderNotFound":
		return "The folder used to create synchronization data is not found."
	case "ErrorToFolderNotFound":
		return "The destination folder could not be found."
	case "ErrorUnsupportedMapiPropertyType":
		return "The MAPI property type is not supported."
	case "ErrorUnsupportedPathForQuery":
		return "The property cannot be used in a restriction."
	case "ErrorUnsupportedPathForSortGroup":
		return "The property can not be used for sorting or grouping."
	}
	return "The operation failed."
}
