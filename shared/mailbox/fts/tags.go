package fts

// Property ids, with their MS-OXPROPS names.
const (
	TagImportance             uint16 = 0x0017
	TagMessageClass           uint16 = 0x001A
	TagPriority               uint16 = 0x0026
	TagSensitivity            uint16 = 0x0036
	TagSubject                uint16 = 0x0037
	TagClientSubmitTime       uint16 = 0x0039
	TagSentRepresentingSearch uint16 = 0x003B // PidTagSentRepresentingSearchKey
	TagSubjectPrefix          uint16 = 0x003D
	TagSentRepresentingEntry  uint16 = 0x0041 // PidTagSentRepresentingEntryId
	TagSentRepresentingName   uint16 = 0x0042
	TagReplyRecipientNames    uint16 = 0x0050
	TagStartDate              uint16 = 0x0060
	TagEndDate                uint16 = 0x0061
	TagSentRepresentingType   uint16 = 0x0064 // PidTagSentRepresentingAddressType
	TagSentRepresentingEmail  uint16 = 0x0065 // PidTagSentRepresentingEmailAddress
	TagConversationTopic      uint16 = 0x0070
	TagConversationIndex      uint16 = 0x0071
	TagTransportHeaders       uint16 = 0x007D // PidTagTransportMessageHeaders
	TagRecipientType          uint16 = 0x0C15 // 1 To, 2 Cc, 3 Bcc
	TagReplyRequested         uint16 = 0x0C17
	TagSenderEntry            uint16 = 0x0C19 // PidTagSenderEntryId
	TagSenderName             uint16 = 0x0C1A
	TagSenderSearch           uint16 = 0x0C1D // PidTagSenderSearchKey
	TagSenderType             uint16 = 0x0C1E // PidTagSenderAddressType
	TagSenderEmail            uint16 = 0x0C1F // PidTagSenderEmailAddress
	TagDisplayBcc             uint16 = 0x0E02
	TagDisplayCc              uint16 = 0x0E03
	TagDisplayTo              uint16 = 0x0E04
	TagDeliveryTime           uint16 = 0x0E06 // PidTagMessageDeliveryTime
	TagMessageFlags           uint16 = 0x0E07
	TagMessageSize            uint16 = 0x0E08
	TagParentEntry            uint16 = 0x0E09 // PidTagParentEntryId
	TagResponsibility         uint16 = 0x0E0F
	TagHasAttachments         uint16 = 0x0E1B
	TagNormalizedSubject      uint16 = 0x0E1D
	TagAttachSize             uint16 = 0x0E20
	TagAttachNumber           uint16 = 0x0E21
	TagArticleNumber          uint16 = 0x0E23 // PidTagInternetArticleNumber
	TagPrimarySendAccount     uint16 = 0x0E28
	TagAccess                 uint16 = 0x0FF4
	TagInstanceKey            uint16 = 0x0FF6
	TagAccessLevel            uint16 = 0x0FF7
	TagMappingSignature       uint16 = 0x0FF8
	TagRecordKey              uint16 = 0x0FF9
	TagObjectType             uint16 = 0x0FFE
	TagEntry                  uint16 = 0x0FFF // PidTagEntryId
	TagBody                   uint16 = 0x1000
	TagRTF                    uint16 = 0x1009 // PidTagRtfCompressed
	TagHTML                   uint16 = 0x1013
	TagNativeBody             uint16 = 0x1016 // 1 plain, 2 RTF, 3 HTML
	TagMessageID              uint16 = 0x1035 // PidTagInternetMessageId
	TagReferences             uint16 = 0x1039 // PidTagInternetReferences
	TagInReplyTo              uint16 = 0x1042 // PidTagInReplyToId
	TagIconIndex              uint16 = 0x1080
	TagLastVerb               uint16 = 0x1081 // PidTagLastVerbExecuted: 102 reply, 103 reply to all, 104 forward
	TagLastVerbTime           uint16 = 0x1082 // PidTagLastVerbExecutionTime
	TagFlagStatus             uint16 = 0x1090 // 1 complete, 2 flagged
	TagFollowupIcon           uint16 = 0x1095
	TagRowID                  uint16 = 0x3000 // PidTagRowid
	TagDisplayName            uint16 = 0x3001
	TagAddressType            uint16 = 0x3002
	TagEmailAddress           uint16 = 0x3003
	TagCreationTime           uint16 = 0x3007
	TagLastModified           uint16 = 0x3008 // PidTagLastModificationTime
	TagSearchKey              uint16 = 0x300B
	TagConversation           uint16 = 0x3013 // PidTagConversationId
	TagAttachData             uint16 = 0x3701 // PidTagAttachDataBinary, as Object PidTagAttachDataObject
	TagAttachExtension        uint16 = 0x3703
	TagAttachFilename         uint16 = 0x3704
	TagAttachMethod           uint16 = 0x3705 // 1 by value, 5 embedded message
	TagAttachLongFilename     uint16 = 0x3707
	TagRenderingPosition      uint16 = 0x370B
	TagAttachMimeTag          uint16 = 0x370E
	TagAttachContentID        uint16 = 0x3712
	TagAttachContentLocation  uint16 = 0x3713
	TagAttachFlags            uint16 = 0x3714 // 4 rendered in the body
	TagDisplayType            uint16 = 0x3900
	TagSMTPAddress            uint16 = 0x39FE
	TagInternetCodepage       uint16 = 0x3FDE
	TagLocale                 uint16 = 0x3FF1 // PidTagMessageLocaleId
	TagCreatorName            uint16 = 0x3FF8
	TagCreatorEntry           uint16 = 0x3FF9 // PidTagCreatorEntryId
	TagLastModifierName       uint16 = 0x3FFA
	TagLastModifierEntry      uint16 = 0x3FFB // PidTagLastModifierEntryId
	TagMessageCodepage        uint16 = 0x3FFD
	TagDnPrefix               uint16 = 0x4008 // MetaTagDnPrefix
	TagEcWarning              uint16 = 0x400F // MetaTagEcWarning
	TagRecipientEntry         uint16 = 0x5FF7 // PidTagRecipientEntryId
	TagRecipientDisplayName   uint16 = 0x5FF6
	TagRecipientFlags         uint16 = 0x5FFD
	TagRecipientTrackStatus   uint16 = 0x5FFF
	TagSourceKey              uint16 = 0x65E0
	TagParentSourceKey        uint16 = 0x65E1
	TagChangeKey              uint16 = 0x65E2
	TagPredecessors           uint16 = 0x65E3 // PidTagPredecessorChangeList
	TagMid                    uint16 = 0x674A
	TagParentFid              uint16 = 0x6749 // PidTagParentFolderId
	TagChangeNumber           uint16 = 0x67A4
	TagAttachmentLink         uint16 = 0x7FFA // PidTagAttachmentLinkId
	TagExceptionStart         uint16 = 0x7FFB // PidTagExceptionStartTime
	TagExceptionEnd           uint16 = 0x7FFC // PidTagExceptionEndTime
	TagAttachmentFlags        uint16 = 0x7FFD
	TagAttachmentHidden       uint16 = 0x7FFE
	TagContactPhoto           uint16 = 0x7FFF // PidTagAttachmentContactPhoto
)

// Ids of contacts.
const (
	TagGivenName       uint16 = 0x3A06
	TagBusinessPhone   uint16 = 0x3A08
	TagHomePhone       uint16 = 0x3A09
	TagSurname         uint16 = 0x3A11
	TagCompanyName     uint16 = 0x3A16
	TagTitle           uint16 = 0x3A17
	TagDepartment      uint16 = 0x3A18
	TagMobilePhone     uint16 = 0x3A1C
	TagCountry         uint16 = 0x3A26
	TagLocality        uint16 = 0x3A27
	TagStateOrProvince uint16 = 0x3A28
	TagStreetAddress   uint16 = 0x3A29
	TagPostalCode      uint16 = 0x3A2A
	TagBirthday        uint16 = 0x3A42
	TagMiddleName      uint16 = 0x3A44
)

// Numbers of named properties, to be used with the function of their set.
const (
	// set Appointment
	LidSequence          uint32 = 0x8201 // PidLidAppointmentSequence
	LidBusyStatus        uint32 = 0x8205 // 0 free, 1 tentative, 2 busy, 3 away
	LidLocation          uint32 = 0x8208
	LidStartWhole        uint32 = 0x820D // PidLidAppointmentStartWhole
	LidEndWhole          uint32 = 0x820E // PidLidAppointmentEndWhole
	LidDuration          uint32 = 0x8213 // PidLidAppointmentDuration, minutes
	LidSubType           uint32 = 0x8215 // PidLidAppointmentSubType: all day
	LidRecur             uint32 = 0x8216 // PidLidAppointmentRecur
	LidStateFlags        uint32 = 0x8217 // PidLidAppointmentStateFlags: 1 meeting, 2 received, 4 cancelled
	LidResponseStatus    uint32 = 0x8218
	LidRecurring         uint32 = 0x8223
	LidTimeZoneStruct    uint32 = 0x8233
	LidTimeZone          uint32 = 0x8234 // PidLidTimeZoneDescription
	LidClipStart         uint32 = 0x8235
	LidClipEnd           uint32 = 0x8236
	LidAllAttendees      uint32 = 0x8238 // PidLidAllAttendeesString
	LidReminderDelta     uint32 = 0x8501 // minutes; set Common, as the four below
	LidReminderTime      uint32 = 0x8502
	LidReminderSet       uint32 = 0x8503
	LidPrivate           uint32 = 0x8506
	LidSideEffects       uint32 = 0x8510
	LidCommonStart       uint32 = 0x8516
	LidCommonEnd         uint32 = 0x8517
	LidTaskMode          uint32 = 0x8518
	LidFlagRequest       uint32 = 0x8530
	LidReminderSignal    uint32 = 0x8560 // PidLidReminderSignalTime
	LidToDoTitle         uint32 = 0x85A4
	LidTaskStatus        uint32 = 0x8101 // set Task, as those below
	LidPercentComplete   uint32 = 0x8102
	LidTaskStartDate     uint32 = 0x8104
	LidTaskDueDate       uint32 = 0x8105
	LidTaskDateCompleted uint32 = 0x810F
	LidTaskComplete      uint32 = 0x811C
	LidTaskOwner         uint32 = 0x811F
	LidTaskRecurring     uint32 = 0x8126 // PidLidTaskFRecurring
	LidFileUnder         uint32 = 0x8005 // set Address, as those below
	LidFileUnderID       uint32 = 0x8006
	LidWorkStreet        uint32 = 0x8045 // PidLidWorkAddressStreet
	LidWorkCity          uint32 = 0x8046
	LidWorkState         uint32 = 0x8047
	LidWorkPostalCode    uint32 = 0x8048
	LidWorkCountry       uint32 = 0x8049
	LidEmail1Display     uint32 = 0x8080 // PidLidEmail1DisplayName
	LidEmail1Type        uint32 = 0x8082 // PidLidEmail1AddressType
	LidEmail1Address     uint32 = 0x8083
	LidEmail1Original    uint32 = 0x8084 // PidLidEmail1OriginalDisplayName
	LidEmail1Entry       uint32 = 0x8085 // PidLidEmail1OriginalEntryId
	LidNoteColor         uint32 = 0x8B00 // set Note, as those below
	LidNoteWidth         uint32 = 0x8B02
	LidNoteHeight        uint32 = 0x8B03
	LidNoteX             uint32 = 0x8B04
	LidNoteY             uint32 = 0x8B05
	LidGlobalObject      uint32 = 0x0003 // PidLidGlobalObjectId; set Meeting, as those below
	LidIsRecurring       uint32 = 0x0005
	LidOwnerCriticalTime uint32 = 0x001A // PidLidOwnerCriticalChange
	LidCleanGlobalObject uint32 = 0x0023 // PidLidCleanGlobalObjectId
	LidMeetingType       uint32 = 0x0026
)

// setTail is the end that most of the property sets of Exchange share, as wire bytes after the first four.
const setTail = "\x00\x00\x00\x00\xC0\x00\x00\x00\x00\x00\x00\x46"

func number(set string, lid uint32) Name { return Name{Set: [16]byte([]byte(set)), LID: lid} }

// The property sets of Exchange (MS-OXPROPS 1.3.2): each makes the name of one of its properties.
func Appointment(lid uint32) Name { return number("\x02\x20\x06\x00"+setTail, lid) } // PSETID_Appointment
func Task(lid uint32) Name        { return number("\x03\x20\x06\x00"+setTail, lid) } // PSETID_Task
func Address(lid uint32) Name     { return number("\x04\x20\x06\x00"+setTail, lid) } // PSETID_Address
func Common(lid uint32) Name      { return number("\x08\x20\x06\x00"+setTail, lid) } // PSETID_Common
func Note(lid uint32) Name        { return number("\x0E\x20\x06\x00"+setTail, lid) } // PSETID_Note
func Meeting(lid uint32) Name { // PSETID_Meeting, {6ED8DA90-450B-101B-98DA-00AA003F1305}
	return number("\x90\xDA\xD8\x6E\x0B\x45\x1B\x10\x98\xDA\x00\xAA\x00\x3F\x13\x05", lid)
}

// Public names a property of PS_PUBLIC_STRINGS, such as "Keywords" (categories, []string).
func Public(text string) Name {
	return Name{Set: [16]byte([]byte("\x29\x03\x02\x00" + setTail)), Text: text}
}

// Header names a property of PS_INTERNET_HEADERS: one header of the mail, its name in lower case.
func Header(name string) Name {
	return Name{Set: [16]byte([]byte("\x86\x03\x02\x00" + setTail)), Text: name}
}
