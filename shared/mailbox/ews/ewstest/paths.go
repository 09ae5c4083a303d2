package ewstest

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/fts"

	"github.com/google/uuid"
)

// path names a property in a request: a FieldURI, an IndexedFieldURI or an extended property.
type path struct {
	uri      string // of FieldURI or IndexedFieldURI
	index    string // of IndexedFieldURI
	extended *extended
}

// extended is an ExtendedFieldURI.
type extended struct {
	tag   uint16    // 0 when named
	name  *fts.Name // nil when by tag
	typ   fts.Type
	attrs []string // as an answer repeats them
}

// knownField says whether the schema has a FieldURI. Of conversations and persons, which are not simulated, only the
// prefix is checked.
func knownField(uri string) bool {
	prefix, name, ok := strings.Cut(uri, ":")
	if !ok || name == "" {
		return false
	}
	switch prefix {
	case "folder":
		return slices.Contains(strings.Fields(folderFieldNames), name)
	case "item":
		return slices.Contains(strings.Fields(itemFieldNames), name)
	case "message":
		return slices.Contains(strings.Fields(messageFieldNames), name)
	case "meeting":
		return slices.Contains(strings.Fields(meetingFieldNames), name)
	case "meetingRequest":
		return slices.Contains(strings.Fields("MeetingRequestType IntendedFreeBusyStatus ChangeHighlights"), name)
	case "calendar":
		return slices.Contains(strings.Fields(calendarFieldNames), name)
	case "task":
		return slices.Contains(strings.Fields(taskFieldNames), name)
	case "contacts":
		return slices.Contains(strings.Fields(contactFieldNames), name)
	case "distributionlist":
		return name == "Members"
	case "postitem":
		return name == "PostedTime"
	case "conversation", "person", "persona":
		return true
	}
	return false
}

const folderFieldNames = "FolderId ParentFolderId DisplayName UnreadCount TotalCount ChildFolderCount FolderClass SearchParameters " +
	"ManagedFolderInformation PermissionSet EffectiveRights SharingEffectiveRights DistinguishedFolderId PolicyTag ArchiveTag ReplicaList"

const itemFieldNames = "ItemId ParentFolderId ItemClass MimeContent Attachments Subject DateTimeReceived Size Categories HasAttachments " +
	"Importance InReplyTo InternetMessageHeaders IsAssociated IsDraft IsFromMe IsResend IsSubmitted IsUnmodified DateTimeSent " +
	"DateTimeCreated Body ResponseObjects Sensitivity ReminderDueBy ReminderIsSet ReminderNextTime ReminderMinutesBeforeStart " +
	"DisplayTo DisplayCc DisplayBcc Culture EffectiveRights LastModifiedName LastModifiedTime ConversationId UniqueBody Flag StoreEntryId " +
	"InstanceKey NormalizedBody EntityExtractionResult PolicyTag ArchiveTag RetentionDate Preview NextPredictedAction GroupingAction " +
	"PredictedActionReasons IsClutter RightsManagementLicenseData BlockStatus HasBlockedImages WebClientReadFormQueryString " +
	"WebClientEditFormQueryString TextBody IconIndex MimeContentUTF8 Mentions MentionedMe Hashtags"

const messageFieldNames = "ConversationIndex ConversationTopic InternetMessageId IsRead IsResponseRequested IsReadReceiptRequested " +
	"IsDeliveryReceiptRequested ReceivedBy ReceivedRepresenting References ReplyTo From Sender ToRecipients CcRecipients BccRecipients " +
	"ApprovalRequestData VotingInformation ReminderMessageData"

const meetingFieldNames = "AssociatedCalendarItemId IsDelegated IsOutOfDate HasBeenProcessed ResponseType ProposedStart ProposedEnd"

const calendarFieldNames = "Start End OriginalStart StartWallClock EndWallClock StartTimeZoneId EndTimeZoneId IsAllDayEvent " +
	"LegacyFreeBusyStatus Location EnhancedLocation When IsMeeting IsCancelled IsRecurring MeetingRequestWasSent IsResponseRequested " +
	"CalendarItemType MyResponseType Organizer RequiredAttendees OptionalAttendees Resources ConflictingMeetingCount " +
	"AdjacentMeetingCount ConflictingMeetings AdjacentMeetings InboxReminders Duration TimeZone AppointmentReplyTime " +
	"AppointmentSequenceNumber AppointmentState Recurrence FirstOccurrence LastOccurrence ModifiedOccurrences DeletedOccurrences " +
	"MeetingTimeZone ConferenceType AllowNewTimeProposal IsOnlineMeeting MeetingWorkspaceUrl NetShowUrl UID RecurrenceId " +
	"DateTimeStamp StartTimeZone EndTimeZone JoinOnlineMeetingUrl OnlineMeetingSettings IsOrganizer"

const taskFieldNames = "ActualWork AssignedTime BillingInformation ChangeCount Companies CompleteDate Contacts DelegationState " +
	"Delegator DueDate IsAssignmentEditable IsComplete IsRecurring IsTeamTask Mileage Owner PercentComplete Recurrence StartDate " +
	"Status StatusDescription TotalWork"

const contactFieldNames = "Alias AssistantName Birthday BusinessHomePage Children Companies CompanyName CompleteName ContactSource " +
	"Culture Department DisplayName DirectoryId DirectReports EmailAddresses AbchEmailAddresses FileAs FileAsMapping Generation " +
	"GivenName ImAddresses Initials JobTitle Manager ManagerMailbox MiddleName Mileage MSExchangeCertificate Nickname Notes " +
	"OfficeLocation PhoneNumbers PhoneticFullName PhoneticFirstName PhoneticLastName Photo PhysicalAddresses PostalAddressIndex " +
	"Profession SpouseName Surname WeddingAnniversary UserSMIMECertificate HasPicture AccountName IsAutoUpdateDisabled " +
	"IsMessengerEnabled Comment ContactShortId ContactType CreatedBy Gender IsHidden ObjectId PassportId IsPrivate SourceId " +
	"TrustLevel Urls Cid SkypeAuthCertificate SkypeContext SkypeId XboxLiveTag SkypeRelationship YomiNickname InviteFree " +
	"HidePresenceAndProfile IsPendingOutbound SupportGroupFeeds UserTileHash UnifiedInbox Mris Wlid AbchContactId " +
	"NotInBirthdayCalendar ShellContactType ImMri PresenceTrustLevel OtherMri ProfileLastChanged MobileIMEnabled"

// readPath reads one path element.
func readPath(e *element) (path, *problem) {
	switch e.name.Local {
	case "FieldURI":
		return path{uri: e.attr("FieldURI")}, nil
	case "IndexedFieldURI":
		return path{uri: e.attr("FieldURI"), index: e.attr("FieldIndex")}, nil
	}
	x, p := readExtended(e)
	return path{extended: x}, p
}

// readExtended takes the combinations that MS-OXWSXPROP 2.1.5 allows.
func readExtended(e *element) (*extended, *problem) {
	x := &extended{}
	var p *problem
	if x.typ, p = mapiType(e.attr("PropertyType")); p != nil {
		return nil, p
	}
	set, guid := e.attr("DistinguishedPropertySetId"), e.attr("PropertySetId")
	switch {
	case e.has("PropertyTag"):
		if set != "" || guid != "" || e.has("PropertyName") || e.has("PropertyId") {
			return nil, newProblem("ErrorInvalidExtendedProperty")
		}
		return x, x.byTag(e)
	case (set == "") == (guid == ""), e.has("PropertyName") == e.has("PropertyId"):
		return nil, newProblem("ErrorInvalidExtendedProperty")
	}
	return x, x.byName(e, set, guid)
}

func (x *extended) byTag(e *element) *problem {
	n, err := strconv.ParseUint(e.attr("PropertyTag"), 0, 16)
	switch {
	case err != nil:
		return newProblem("ErrorInvalidExtendedProperty")
	case n >= 0x8000:
		return newProblem("ErrorNoPropertyTagForCustomProperties")
	}
	x.tag = uint16(n)
	x.attrs = []string{"PropertyTag", "0x" + strconv.FormatUint(n, 16), "PropertyType", e.attr("PropertyType")}
	return nil
}

func (x *extended) byName(e *element, set, guid string) *problem {
	attrs := []string{"DistinguishedPropertySetId", set}
	if guid == "" {
		if guid = distinguishedSet(set); guid == "" {
			return newProblem("ErrorInvalidExtendedProperty")
		}
	} else {
		attrs = []string{"PropertySetId", strings.ToLower(strings.Trim(guid, "{}"))}
	}
	g, err := uuid.Parse(guid)
	if err != nil {
		return newProblem("ErrorInvalidExtendedProperty")
	}
	x.name = &fts.Name{Set: wireGUID(g), Text: e.attr("PropertyName")}
	if e.has("PropertyId") {
		n, err := strconv.ParseUint(e.attr("PropertyId"), 0, 32)
		if err != nil {
			return newProblem("ErrorInvalidExtendedProperty")
		}
		x.name.LID = uint32(n)
		attrs = append(attrs, "PropertyId", strconv.FormatUint(n, 10))
	} else {
		attrs = append(attrs, "PropertyName", e.attr("PropertyName"))
	}
	x.attrs = append(attrs, "PropertyType", e.attr("PropertyType"))
	return nil
}

func distinguishedSet(name string) string {
	switch name {
	case "Meeting":
		return "6ED8DA90-450B-101B-98DA-00AA003F1305"
	case "Appointment":
		return "00062002-0000-0000-C000-000000000046"
	case "Common":
		return "00062008-0000-0000-C000-000000000046"
	case "PublicStrings":
		return "00020329-0000-0000-C000-000000000046"
	case "Address":
		return "00062004-0000-0000-C000-000000000046"
	case "InternetHeaders":
		return "00020386-0000-0000-C000-000000000046"
	case "CalendarAssistant":
		return "11000E07-B51B-40D6-AF21-CAA85EDAB1D0"
	case "UnifiedMessaging":
		return "4442858E-A9E3-4E80-B900-317A210CC15B"
	case "Task":
		return "00062003-0000-0000-C000-000000000046"
	case "Sharing":
		return "00062040-0000-0000-C000-000000000046"
	}
	return ""
}

// wireGUID turns the text's order of bytes into that of the wire.
func wireGUID(g uuid.UUID) [16]byte {
	return [16]byte{g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]}
}

func mapiType(name string) (fts.Type, *problem) {
	base, multi := strings.TrimSuffix(name, "Array"), strings.HasSuffix(name, "Array")
	t := fts.Type(0)
	switch base {
	case "ApplicationTime":
		t = fts.AppTime
	case "Binary":
		t = fts.Binary
	case "Boolean":
		t = fts.Bool
	case "CLSID":
		t = fts.GUID
	case "Currency":
		t = fts.Currency
	case "Double":
		t = fts.Float64
	case "Float":
		t = fts.Float32
	case "Integer":
		t = fts.Int32
	case "Long":
		t = fts.Int64
	case "Short":
		t = fts.Int16
	case "SystemTime":
		t = fts.Time
	case "String":
		t = fts.Unicode
	}
	if t == 0 || multi && t == fts.Bool {
		return 0, newProblem("ErrorUnsupportedMapiPropertyType")
	}
	if multi {
		t |= fts.Multi
	}
	return t, nil
}

// fits returns v when it is of the type that was asked for, else nil: to MAPI another type is another property.
func (x *extended) fits(v any) any {
	switch v := v.(type) {
	case int32:
		if x.typ == fts.Int64 && x.tag == fts.TagMessageSize {
			return int64(v)
		}
		return keep(v, x.typ == fts.Int32)
	case int64:
		return keep(v, x.typ == fts.Int64 || x.typ == fts.Currency)
	case int16:
		return keep(v, x.typ == fts.Int16)
	case bool:
		return keep(v, x.typ == fts.Bool)
	case string:
		return keep(v, x.typ == fts.Unicode)
	case []byte:
		return keep(v, x.typ == fts.Binary)
	case time.Time:
		return keep(v, x.typ == fts.Time)
	case [16]byte:
		return keep(v, x.typ == fts.GUID)
	case float64:
		return keep(v, x.typ == fts.Float64 || x.typ == fts.AppTime)
	case float32:
		return keep(v, x.typ == fts.Float32)
	case []string:
		return keep(v, x.typ == fts.Unicode|fts.Multi)
	case [][]byte:
		return keep(v, x.typ == fts.Binary|fts.Multi)
	case []int32:
		return keep(v, x.typ == fts.Int32|fts.Multi)
	case []int64:
		return keep(v, x.typ == fts.Int64|fts.Multi)
	}
	return nil
}

func keep(v any, ok bool) any {
	if ok {
		return v
	}
	return nil
}

// writeExtended writes an ExtendedProperty; a nil value is left out.
func (w *writer) writeExtended(x *extended, v any) {
	if v == nil {
		return
	}
	w.open("t:ExtendedProperty")
	w.empty("t:ExtendedFieldURI", x.attrs...)
	if list, ok := texts(v); ok {
		w.open("t:Values")
		for _, s := range list {
			w.text("t:Value", s)
		}
		w.close("t:Values")
	} else {
		w.text("t:Value", textValue(v))
	}
	w.close("t:ExtendedProperty")
}

func texts(v any) ([]string, bool) {
	var out []string
	switch v := v.(type) {
	case []string:
		return v, true
	case [][]byte:
		for _, b := range v {
			out = append(out, textValue(b))
		}
	case []int32:
		for _, n := range v {
			out = append(out, textValue(n))
		}
	case []int64:
		for _, n := range v {
			out = append(out, textValue(n))
		}
	default:
		return nil, false
	}
	return out, true
}

// textValue is how a value stands in XML.
func textValue(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int16:
		return strconv.Itoa(int(v))
	case int32:
		return strconv.Itoa(int(v))
	case int64:
		return strconv.FormatInt(v, 10)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05Z")
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case [16]byte:
		g, _ := uuid.FromBytes(v[:])
		b := wireGUID(g)
		h := hex.EncodeToString(b[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return ""
}

// cutList shortens values as listings do: 255 characters, 512 bytes.
func cutList(v any) any {
	switch v := v.(type) {
	case string:
		if r := []rune(v); len(r) > 255 {
			return string(r[:255])
		}
	case []byte:
		if len(v) > 512 {
			return v[:512]
		}
	}
	return v
}
