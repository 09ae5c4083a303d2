package ewstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// grammar is what Exchange validates a request against before it looks at it. A line is an element, its attributes
// and after the colon its children in order: a|b is a choice, ? * + count, @a! is a required attribute and =x|y its
// values. Elements without a line hold anything that has no line either or is as its line says. Children of an operation are in the messages namespace, everything
// below in the types namespace.
const grammar = `
GetFolder : FolderShape FolderIds
FindFolder @Traversal!=Shallow|Deep|SoftDeleted : FolderShape IndexedPageFolderView|FractionalPageFolderView? Restriction? ParentFolderIds
CreateFolder : ParentFolderId Folders
DeleteFolder @DeleteType!=HardDelete|SoftDelete|MoveToDeletedItems : FolderIds
EmptyFolder @DeleteType!=HardDelete|SoftDelete|MoveToDeletedItems @DeleteSubFolders!=true|false|1|0 : FolderIds
UpdateFolder : FolderChanges
MoveFolder : ToFolderId FolderIds
CopyFolder : ToFolderId FolderIds
FindItem @Traversal!=Shallow|SoftDeleted|Associated : ItemShape IndexedPageItemView|FractionalPageItemView|SeekToConditionPageItemView|CalendarView|ContactsView? GroupBy|DistinguishedGroupBy? Restriction? SortOrder? ParentFolderIds QueryString?
GetItem : ItemShape ItemIds
GetAttachment : AttachmentShape? AttachmentIds
CreateAttachment : ParentItemId Attachments
DeleteAttachment : AttachmentIds
ParentItemId @Id! @ChangeKey :
Attachments/CreateAttachment : FileAttachment|ItemAttachment|ReferenceAttachment+
SyncFolderHierarchy : FolderShape SyncFolderId? SyncState?
SyncFolderItems : ItemShape SyncFolderId SyncState? Ignore? MaxChangesReturned SyncScope?
ExportItems : ItemIds
UploadItems : Items
MoveItem : ToFolderId ItemIds ReturnNewItemIds?
CopyItem : ToFolderId ItemIds ReturnNewItemIds?
DeleteItem @DeleteType!=HardDelete|SoftDelete|MoveToDeletedItems @SendMeetingCancellations=SendToNone|SendOnlyToAll|SendToAllAndSaveCopy @AffectedTaskOccurrences=AllOccurrences|SpecifiedOccurrenceOnly @SuppressReadReceipts : ItemIds
UpdateItem @ConflictResolution!=NeverOverwrite|AutoResolve|AlwaysOverwrite @MessageDisposition=SaveOnly|SendOnly|SendAndSaveCopy @SendMeetingInvitationsOrCancellations=SendToNone|SendOnlyToAll|SendOnlyToChanged|SendToAllAndSaveCopy|SendToChangedAndSaveCopy @SuppressReadReceipts : SavedItemFolderId? ItemChanges
CreateItem @MessageDisposition=SaveOnly|SendOnly|SendAndSaveCopy @SendMeetingInvitations=SendToNone|SendOnlyToAll|SendToAllAndSaveCopy : SavedItemFolderId? Items
ResolveNames @ReturnFullContactData!=true|false|1|0 @SearchScope=ActiveDirectory|ActiveDirectoryContacts|Contacts|ContactsActiveDirectory @ContactDataShape=IdOnly|Default|AllProperties : ParentFolderIds? UnresolvedEntry
GetServerTimeZones @ReturnFullTimeZoneData : Ids?
GetUserConfiguration : UserConfigurationName UserConfigurationProperties
GetDelegate @IncludePermissions!=true|false|1|0 : Mailbox UserIds?
ConvertId @DestinationFormat!=EwsLegacyId|EwsId|EntryId|HexEntryId|StoreId|OwaId : SourceIds
SourceIds : AlternateId|AlternatePublicFolderId|AlternatePublicFolderItemId+
AlternateId @Format!=EwsLegacyId|EwsId|EntryId|HexEntryId|StoreId|OwaId @Id! @Mailbox! @IsArchive :
FolderShape : BaseShape AdditionalProperties?
ItemShape : BaseShape IncludeMimeContent? BodyType? UniqueBodyType? NormalizedBodyType? FilterHtmlContent? ConvertHtmlCodePageToUTF8? InlineImageUrlTemplate? BlockExternalImages? AddBlankTargetToLinks? MaximumBodySize? AdditionalProperties?
AttachmentShape : IncludeMimeContent? BodyType? FilterHtmlContent? AdditionalProperties?
BaseShape =IdOnly|Default|AllProperties|PcxPeopleSearch
BodyType =Best|HTML|Text
Body @BodyType!=HTML|Text @IsTruncated :
MimeContent @CharacterSet :
Subject :
DisplayName :
Content :
Data :
SyncScope =NormalItems|NormalAndAssociatedItems
AdditionalProperties : FieldURI|IndexedFieldURI|ExtendedFieldURI+
IndexedPageFolderView @MaxEntriesReturned @Offset! @BasePoint!=Beginning|End :
FractionalPageFolderView @MaxEntriesReturned @Numerator! @Denominator! :
IndexedPageItemView @MaxEntriesReturned @Offset! @BasePoint!=Beginning|End :
FractionalPageItemView @MaxEntriesReturned @Numerator! @Denominator! :
CalendarView @MaxEntriesReturned @StartDate! @EndDate! :
ContactsView @MaxEntriesReturned @InitialName @FinalName :
ParentFolderIds : FolderId|DistinguishedFolderId+
FolderIds : FolderId|DistinguishedFolderId+
SyncFolderId : FolderId|DistinguishedFolderId|AddressListId
ToFolderId : FolderId|DistinguishedFolderId|AddressListId
SavedItemFolderId : FolderId|DistinguishedFolderId|AddressListId
FolderId @Id! @ChangeKey :
DistinguishedFolderId @Id! @ChangeKey : Mailbox?
ItemIds : ItemId|OccurrenceItemId|RecurringMasterItemId|RecurringMasterItemIdRanges+
Ignore : ItemId*
ItemId @Id! @ChangeKey :
AttachmentIds : AttachmentId+
AttachmentId @Id! @RootItemId @RootItemChangeKey :
SortOrder : FieldOrder+
FieldOrder @Order!=Ascending|Descending : FieldURI|IndexedFieldURI|ExtendedFieldURI+
FieldURI @FieldURI! :
IndexedFieldURI @FieldURI! @FieldIndex! :
ExtendedFieldURI @DistinguishedPropertySetId @PropertySetId @PropertyTag @PropertyName @PropertyId @PropertyType! :
Restriction : Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|IsLessThan|IsLessThanOrEqualTo|And|Or|Not|Near?
And : Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|IsLessThan|IsLessThanOrEqualTo|And|Or|Not|Near+
Or : Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|IsLessThan|IsLessThanOrEqualTo|And|Or|Not|Near+
Not : Contains|Excludes|Exists|IsEqualTo|IsNotEqualTo|IsGreaterThan|IsGreaterThanOrEqualTo|IsLessThan|IsLessThanOrEqualTo|And|Or|Not|Near
IsEqualTo : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
IsNotEqualTo : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
IsGreaterThan : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
IsGreaterThanOrEqualTo : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
IsLessThan : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
IsLessThanOrEqualTo : FieldURI|IndexedFieldURI|ExtendedFieldURI FieldURIOrConstant
Contains @ContainmentMode=FullString|Prefixed|Substring|PrefixOnWords|ExactPhrase @ContainmentComparison : FieldURI|IndexedFieldURI|ExtendedFieldURI Constant
Excludes : FieldURI|IndexedFieldURI|ExtendedFieldURI Bitmask
Exists : FieldURI|IndexedFieldURI|ExtendedFieldURI
FieldURIOrConstant : FieldURI|IndexedFieldURI|ExtendedFieldURI|Constant
Constant @Value! :
Bitmask @Value! :
Folders : Folder|CalendarFolder|ContactsFolder|SearchFolder|TasksFolder+
FolderChanges : FolderChange+
FolderChange : FolderId|DistinguishedFolderId Updates
Updates/UpdateFolder : AppendToFolderField|SetFolderField|DeleteFolderField+
SetFolderField : FieldURI|IndexedFieldURI|ExtendedFieldURI Folder|CalendarFolder|ContactsFolder|SearchFolder|TasksFolder
DeleteFolderField : FieldURI|IndexedFieldURI|ExtendedFieldURI
ItemChanges : ItemChange+
ItemChange : ItemId|OccurrenceItemId|RecurringMasterItemId Updates CalendarActivityData?
Updates : AppendToItemField|SetItemField|DeleteItemField+
Item/UploadItems @CreateAction!=CreateNew|Update|UpdateOrCreate @IsAssociated : ParentFolderId ItemId? Data
`

// distinguishedNames are the values of DistinguishedFolderIdNameType in the schema of Exchange 2016.
const distinguishedNames = "calendar contacts deleteditems drafts inbox journal notes outbox sentitems tasks msgfolderroot " +
	"publicfoldersroot root junkemail searchfolders voicemail recoverableitemsroot recoverableitemsdeletions " +
	"recoverableitemsversions recoverableitemspurges archiveroot archivemsgfolderroot archivedeleteditems archiveinbox " +
	"archiverecoverableitemsroot archiverecoverableitemsdeletions archiverecoverableitemsversions " +
	"archiverecoverableitemspurges syncissues conflicts localfailures serverfailures recipientcache quickcontacts " +
	"conversationhistory adminauditlogs todosearch mycontacts directory imcontactlist peopleconnect favorites"

// indexedFields are the values of DictionaryURIType.
const indexedFields = "item:InternetMessageHeader contacts:ImAddress contacts:PhysicalAddress:Street contacts:PhysicalAddress:City " +
	"contacts:PhysicalAddress:State contacts:PhysicalAddress:CountryOrRegion contacts:PhysicalAddress:PostalCode contacts:PhoneNumber " +
	"contacts:EmailAddress distributionlist:Members:Member"

// rule is one line of the grammar.
type rule struct {
	attrs  map[string]attrRule
	values []string // of the element's text
	parts  []part
	sealed bool // has a colon: only these children
}

type attrRule struct {
	required bool
	values   []string
}

type part struct {
	names     []string
	min, many bool
}

// schema is the grammar, parsed.
type schema map[string]rule

func parseGrammar(text string) schema {
	s := schema{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		head, tail, sealed := strings.Cut(line, " :")
		words := strings.Fields(head)
		r := rule{attrs: map[string]attrRule{}, sealed: sealed}
		for _, w := range words[1:] {
			r.word(w)
		}
		for _, w := range strings.Fields(tail) {
			r.parts = append(r.parts, parsePart(w))
		}
		s[words[0]] = r
	}
	return s
}

func (r *rule) word(w string) {
	name, values, _ := strings.Cut(w, "=")
	var list []string
	if values != "" {
		list = strings.Split(values, "|")
	}
	if name == "" {
		r.values = list
		return
	}
	name = strings.TrimPrefix(name, "@")
	r.attrs[strings.TrimSuffix(name, "!")] = attrRule{required: strings.HasSuffix(name, "!"), values: list}
}

func parsePart(w string) part {
	p := part{min: !strings.HasSuffix(w, "?") && !strings.HasSuffix(w, "*"), many: strings.HasSuffix(w, "+") || strings.HasSuffix(w, "*")}
	p.names = strings.Split(strings.TrimRight(w, "?*+"), "|")
	return p
}

// violation is what the schema validation says, with the place it points to.
type violation struct {
	text      string
	line, col int
}

func (v *violation) Error() string { return v.text }

// check validates an operation and everything below it.
func (s schema) check(op *element) *violation { return s.walk(op, nil, op.name.Local) }

func (s schema) walk(e, parent *element, op string) *violation {
	r, ok := s[e.name.Local+"/"+op]
	if !ok {
		r = s[e.name.Local]
	}
	if v := s.names(e); v != nil {
		return v
	}
	if v := r.attributes(e); v != nil {
		return v
	}
	if r.values != nil && !slices.Contains(r.values, e.value()) {
		return badValue(e, fmt.Sprintf("The '%s' element", e.name.Space+":"+e.name.Local), e.value())
	}
	if r.sealed {
		below := nsTypes
		if parent == nil {
			below = nsMessages
		}
		if v := r.children(e, below); v != nil {
			return v
		}
	}
	for _, k := range e.kids {
		if v := s.walk(k, e, op); v != nil {
			return v
		}
	}
	return nil
}

// names checks the enumerations too long for the grammar.
func (s schema) names(e *element) *violation {
	switch e.name.Local {
	case "DistinguishedFolderId":
		if !slices.Contains(strings.Fields(distinguishedNames), e.attr("Id")) {
			return badValue(e, "The 'Id' attribute", e.attr("Id"))
		}
	case "FieldURI":
		if !knownField(e.attr("FieldURI")) {
			return badValue(e, "The 'FieldURI' attribute", e.attr("FieldURI"))
		}
	case "IndexedFieldURI":
		if !slices.Contains(strings.Fields(indexedFields), e.attr("FieldURI")) {
			return badValue(e, "The 'FieldURI' attribute", e.attr("FieldURI"))
		}
	case "MaxChangesReturned":
		if n, ok := decimal(e.value()); !ok || n < 1 || n > 512 {
			return badValue(e, "The 'MaxChangesReturned' element", e.value())
		}
	}
	return nil
}

func (r rule) attributes(e *element) *violation {
	for _, name := range slices.Sorted(maps.Keys(r.attrs)) {
		a := r.attrs[name]
		switch {
		case a.required && !e.has(name):
			return &violation{fmt.Sprintf("The required attribute '%s' is missing.", name), e.line, e.col}
		case a.values != nil && e.has(name) && !slices.Contains(a.values, e.attr(name)):
			return badValue(e, fmt.Sprintf("The '%s' attribute", name), e.attr(name))
		}
	}
	for _, a := range e.attrs {
		if _, ok := r.attrs[a.Name.Local]; !ok && a.Name.Space == "" && a.Name.Local != "xmlns" && r.sealed {
			return &violation{fmt.Sprintf("The '%s' attribute is not declared.", a.Name.Local), e.line, e.col}
		}
	}
	return nil
}

func badValue(e *element, what, value string) *violation {
	return &violation{fmt.Sprintf("%s is invalid - The value '%s' is invalid according to its datatype - The Enumeration constraint failed.", what, value), e.line, e.col}
}

// children checks order, number and namespace.
func (r rule) children(e *element, below string) *violation {
	seen := make([]bool, len(r.parts))
	i := 0
	for _, k := range e.kids {
		for i < len(r.parts) && !slices.Contains(r.parts[i].names, k.name.Local) && (seen[i] || !r.parts[i].min) {
			i++
		}
		if i == len(r.parts) || !slices.Contains(r.parts[i].names, k.name.Local) || k.name.Space != below {
			return r.unexpected(e, k, i)
		}
		if seen[i] = true; !r.parts[i].many {
			i++
		}
	}
	for ; i < len(r.parts); i++ {
		if r.parts[i].min && !seen[i] {
			return &violation{fmt.Sprintf("The element '%s' in namespace '%s' has incomplete content. List of possible elements expected: '%s'.",
				e.name.Local, e.name.Space, strings.Join(r.parts[i].names, ", ")), e.line, e.col}
		}
	}
	return nil
}

func (r rule) unexpected(e, k *element, i int) *violation {
	expected := ""
	if i < len(r.parts) {
		expected = fmt.Sprintf(" List of possible elements expected: '%s'.", strings.Join(r.parts[i].names, ", "))
	}
	return &violation{fmt.Sprintf("The element '%s' in namespace '%s' has invalid child element '%s' in namespace '%s'.%s",
		e.name.Local, e.name.Space, k.name.Local, k.name.Space, expected), k.line, k.col}
}
