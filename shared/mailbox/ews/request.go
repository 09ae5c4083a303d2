package ews

import (
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// envelope carries every request: %s are the mailbox's address and the body. The schema fixes the order of elements
// everywhere. From Exchange2010_SP1 on a throttled FindItem is a short page and not an error.
const envelope = `<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">
<s:Header><t:RequestServerVersion Version="Exchange2013_SP1"/>
<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>%s</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>
<t:TimeZoneContext><t:TimeZoneDefinition Id="UTC"/></t:TimeZoneContext></s:Header>
<s:Body>%s</s:Body></s:Envelope>`

const getFolder = `<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>` +
	`<m:FolderIds>%s</m:FolderIds></m:GetFolder>`

const findFolder = `<m:FindFolder Traversal="Deep"><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` +
	`<t:FieldURI FieldURI="folder:DisplayName"/><t:FieldURI FieldURI="folder:FolderClass"/>` +
	`<t:FieldURI FieldURI="folder:ParentFolderId"/><t:FieldURI FieldURI="folder:TotalCount"/>` +
	`<t:ExtendedFieldURI PropertyTag="0x10F4" PropertyType="Boolean"/>` + // PidTagAttributeHidden
	`</t:AdditionalProperties></m:FolderShape>` +
	`<m:IndexedPageFolderView MaxEntriesReturned="%d" Offset="%d" BasePoint="Beginning"/>` +
	`<m:ParentFolderIds><t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderIds></m:FindFolder>`

// findItem sorts by the time of receipt, so that new mail is added at the end of what is being paged.
const findItem = `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` +
	`<t:FieldURI FieldURI="item:ItemClass"/>%s</t:AdditionalProperties></m:ItemShape>` +
	`<m:IndexedPageItemView MaxEntriesReturned="%d" Offset="%d" BasePoint="Beginning"/>` +
	`<m:SortOrder><t:FieldOrder Order="Ascending"><t:FieldURI FieldURI="item:DateTimeReceived"/></t:FieldOrder></m:SortOrder>` +
	`<m:ParentFolderIds>%s</m:ParentFolderIds></m:FindItem>`

const syncFolderItems = `<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>` +
	`<m:SyncFolderId>%s</m:SyncFolderId>%s<m:MaxChangesReturned>%d</m:MaxChangesReturned>` +
	`<m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>`

const exportItems = `<m:ExportItems><m:ItemIds>%s</m:ItemIds></m:ExportItems>`

// The tags of what Exchange lists about an item, as mailbox.Properties names them.
const (
	tagSize        = 0x0E08
	tagSearchKey   = 0x300B
	tagMessageID   = 0x1035
	tagSubject     = 0x0037
	tagSender      = 0x0C1F
	tagSubmitted   = 0x0039
	tagReceived    = 0x0E06
	tagTo          = 0x0E04
	tagCc          = 0x0E03
	tagBcc         = 0x0E02
	tagFlags       = 0x0E07
	tagFlagStatus  = 0x1090
	tagImportance  = 0x0017
	tagAttachments = 0x0E1B
	tagHidden      = 0x10F4
)

func itemProperties() string {
	var b strings.Builder
	for _, p := range []struct {
		tag  int
		kind string
	}{
		{tagSize, "Integer"}, {tagSearchKey, "Binary"}, {tagMessageID, "String"}, {tagSubject, "String"},
		{tagSender, "String"}, {tagSubmitted, "SystemTime"}, {tagReceived, "SystemTime"}, {tagTo, "String"},
		{tagCc, "String"}, {tagBcc, "String"}, {tagFlags, "Integer"}, {tagFlagStatus, "Integer"},
		{tagImportance, "Integer"}, {tagAttachments, "Boolean"},
	} {
		fmt.Fprintf(&b, `<t:ExtendedFieldURI PropertyTag="0x%04X" PropertyType="%s"/>`, p.tag, p.kind)
	}
	return b.String()
}

func distinguished(names ...string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, `<t:DistinguishedFolderId Id="%s"/>`, n)
	}
	return b.String()
}

func folderID(id mailbox.FolderID) string {
	return fmt.Sprintf(`<t:FolderId Id="%s"/>`, escaped(string(id)))
}

// itemIDs leaves change keys out: a stale one would be refused, and we want the item as it is now.
func itemIDs(ids []mailbox.ItemID) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, `<t:ItemId Id="%s"/>`, escaped(string(id)))
	}
	return b.String()
}

func syncState(state string) string {
	if state == "" {
		return ""
	}
	return "<m:SyncState>" + escaped(state) + "</m:SyncState>"
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
