package ewstest

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// field is one property of an item. The order of the list is that of the schema.
type field struct {
	uri     string
	element string // "" is the uri's second half
	in      int    // base shapes
	of      kinds
	value   func(*view) any      // what restrictions and sorting see; nil when they may not
	write   func(*view, *writer) // nil writes the value
	heavy   bool                 // not in FindItem: it would need the whole item
	indexed string               // begins the IndexedFieldURI of one of its entries
}

func (f *field) name() string {
	if f.element != "" {
		return "t:" + f.element
	}
	_, n, _ := strings.Cut(f.uri, ":")
	return "t:" + n
}

// put writes the field when it has a value.
func (f *field) put(v *view, w *writer) {
	if f.write != nil {
		f.write(v, w)
		return
	}
	switch a := v.cut(f.value(v)).(type) {
	case nil:
	case time.Time:
		if !a.IsZero() {
			w.text(f.name(), textValue(a))
		}
	case []string:
		if len(a) > 0 {
			w.open(f.name())
			for _, s := range a {
				w.text("t:String", s)
			}
			w.close(f.name())
		}
	default:
		w.text(f.name(), textValue(a))
	}
}

const (
	shown  = inDefault | inList | inAll
	opened = inDefault | inAll
)

func textOfTag(id uint16) func(*view) any {
	return func(v *view) any {
		if s := v.text(id); s != "" {
			return s
		}
		return nil
	}
}

func timeOfTag(id uint16) func(*view) any {
	return func(v *view) any {
		if t := v.time(id); !t.IsZero() {
			return t
		}
		return nil
	}
}

func hasFlag(flag int32) func(*view) any { return func(v *view) any { return v.has(flag) } }

func never(*view) any { return false }

// itemFields come first in every kind of item.
func itemFields() []field {
	return []field{
		{uri: "item:MimeContent", of: everyKind, heavy: true, write: writeMIME},
		{uri: "item:ItemId", in: shown, of: everyKind, write: func(v *view, w *writer) {
			w.empty("t:ItemId", "Id", ItemID(v.m, v.it), "ChangeKey", ChangeKey(v.m, v.it))
		}},
		{uri: "item:ParentFolderId", in: inAll, of: everyKind, write: writeParent},
		{uri: "item:ItemClass", in: inAll, of: everyKind, value: func(v *view) any { return v.it.Summary.Class }},
		{uri: "item:Subject", in: shown, of: everyKind, value: textOfTag(fts.TagSubject)},
		{uri: "item:Sensitivity", in: shown, of: everyKind, value: sensitivity},
		{uri: "item:Body", in: opened, of: everyKind, heavy: true, write: func(v *view, w *writer) { writeBody(v, w, "t:Body", v.sh.body) }},
		{uri: "item:Attachments", in: opened, of: everyKind, heavy: true, write: writeAttachments},
		{uri: "item:DateTimeReceived", in: inAll, of: everyKind, value: received},
		{uri: "item:Size", in: shown, of: everyKind, value: func(v *view) any { return v.number(fts.TagMessageSize) }},
		{uri: "item:Categories", in: inAll, of: everyKind, value: func(v *view) any { return v.named(fts.Public("Keywords")) }},
		{uri: "item:Importance", in: inAll, of: everyKind, value: importance},
		{uri: "item:InReplyTo", in: inAll, of: everyKind, value: textOfTag(fts.TagInReplyTo)},
		{uri: "item:IsSubmitted", in: inAll, of: everyKind, value: hasFlag(0x4)},
		{uri: "item:IsDraft", in: inAll, of: everyKind, value: hasFlag(mailbox.FlagUnsent)},
		{uri: "item:IsFromMe", in: inAll, of: everyKind, value: hasFlag(0x20)},
		{uri: "item:IsResend", in: inAll, of: everyKind, value: hasFlag(0x80)},
		{uri: "item:IsUnmodified", in: inAll, of: everyKind, value: hasFlag(0x2)},
		{uri: "item:InternetMessageHeaders", in: inAll, of: everyKind, heavy: true, indexed: headerIndex, write: writeHeaders},
		{uri: "item:DateTimeSent", in: shown, of: everyKind, value: timeOfTag(fts.TagClientSubmitTime)},
		{uri: "item:DateTimeCreated", in: shown, of: everyKind, value: timeOfTag(fts.TagCreationTime)},
		{uri: "item:ReminderDueBy", in: inAll, of: everyKind, value: func(v *view) any { return v.named(fts.Common(fts.LidReminderTime)) }},
		{uri: "item:ReminderIsSet", in: inAll, of: everyKind, value: func(v *view) any { b, _ := v.named(fts.Common(fts.LidReminderSet)).(bool); return b }},
		{uri: "item:ReminderMinutesBeforeStart", in: inAll, of: everyKind, value: reminderMinutes},
		{uri: "item:DisplayCc", in: inAll, of: everyKind, value: func(v *view) any { return v.it.Summary.Cc }},
		{uri: "item:DisplayTo", in: inAll, of: everyKind, value: func(v *view) any { return v.it.Summary.To }},
		{uri: "item:DisplayBcc", of: everyKind, value: func(v *view) any { return v.it.Summary.Bcc }},
		{uri: "item:HasAttachments", in: shown, of: everyKind, value: func(v *view) any { return v.it.Summary.Properties.Attachments }},
		{uri: extendedHere, of: everyKind, write: writeExtendedProperties},
		{uri: "item:Culture", in: inAll, of: everyKind, value: func(*view) any { return "en-US" }},
		{uri: "item:EffectiveRights", in: inAll, of: everyKind, write: func(_ *view, w *writer) { w.rights() }},
		{uri: "item:LastModifiedName", in: inAll, of: everyKind, value: textOfTag(fts.TagLastModifierName)},
		{uri: "item:LastModifiedTime", in: inAll, of: everyKind, value: timeOfTag(fts.TagLastModified)},
		{uri: "item:IsAssociated", in: inAll, of: everyKind, value: never},
		{uri: "item:ConversationId", in: inAll, of: everyKind, write: writeConversation},
		{uri: "item:UniqueBody", of: everyKind, heavy: true, write: func(v *view, w *writer) { writeBody(v, w, "t:UniqueBody", v.sh.body) }},
		{uri: "item:Flag", in: inAll, of: everyKind, write: writeFlag},
		{uri: "item:StoreEntryId", of: everyKind, value: func(v *view) any { return itemEntryID(v.m, v.it) }},
		{uri: "item:InstanceKey", in: inAll, of: everyKind, value: func(v *view) any { return itemEntryID(v.m, v.it)[62:] }},
		{uri: "item:NormalizedBody", of: everyKind, heavy: true, write: func(v *view, w *writer) { writeBody(v, w, "t:NormalizedBody", v.sh.body) }},
		{uri: "item:Preview", of: everyKind, value: preview},
		{uri: "item:TextBody", of: everyKind, heavy: true, write: func(v *view, w *writer) { writeBody(v, w, "t:TextBody", "Text") }},
	}
}

// extendedHere marks where the schema has the extended properties.
const extendedHere = "item:(extended)"

func writeParent(v *view, w *writer) {
	if f, err := v.m.Folder(v.it.Folder); err == nil {
		w.empty("t:ParentFolderId", "Id", FolderID(v.m, f.ID), "ChangeKey", folderChangeKey(v.m, f))
	}
}

func writeExtendedProperties(v *view, w *writer) {
	for _, x := range v.sh.extra {
		w.writeExtended(x, v.extended(x))
	}
}

func (w *writer) rights() {
	w.open("t:EffectiveRights")
	for _, n := range []string{"t:CreateAssociated", "t:CreateContents", "t:CreateHierarchy", "t:Delete", "t:Modify", "t:Read", "t:ViewPrivateItems"} {
		w.flag(n, true)
	}
	w.close("t:EffectiveRights")
}

func sensitivity(v *view) any {
	return pick(v.number(fts.TagSensitivity), "Normal", "Personal", "Private", "Confidential")
}

func importance(v *view) any {
	n, ok := v.prop(fts.TagImportance).(int32)
	if !ok {
		n = 1
	}
	return pick(n, "Low", "Normal", "High")
}

func pick(n int32, names ...string) string {
	if n < 0 || int(n) >= len(names) {
		return names[0]
	}
	return names[n]
}

// received is the delivery time; an item that was never delivered shows when it was made.
func received(v *view) any {
	if t := v.time(fts.TagDeliveryTime); !t.IsZero() {
		return t
	}
	return v.time(fts.TagCreationTime)
}

func reminderMinutes(v *view) any {
	n, _ := v.named(fts.Common(fts.LidReminderDelta)).(int32)
	return n
}

func preview(v *view) any {
	_, s := body(v.properties(), "Text")
	if r := []rune(strings.Join(strings.Fields(s), " ")); len(r) > 255 {
		return string(r[:255])
	} else {
		return string(r)
	}
}

func writeBody(v *view, w *writer, element, want string) {
	kind, text := body(v.properties(), want)
	w.text(element, text, "BodyType", kind, "IsTruncated", "false")
}

func writeConversation(v *view, w *writer) {
	if c := v.conversation(); len(c) == 16 {
		w.empty("t:ConversationId", "Id", conversationID(v, c))
	}
}

// conversationID has the layout of a folder's id with another storage type.
func conversationID(v *view, c []byte) string {
	b := []byte{0, 1, 36, 0}
	b = append(b, v.m.GUID.String()...)
	return base64.StdEncoding.EncodeToString(append(append(b, 0, 16, 0), c...))
}

func writeFlag(v *view, w *writer) {
	w.open("t:Flag")
	w.text("t:FlagStatus", flagStatus(v).(string))
	w.close("t:Flag")
}

func flagStatus(v *view) any {
	return pick(v.number(fts.TagFlagStatus), "NotFlagged", "Complete", "Flagged")
}

// headerIndex is the IndexedFieldURI of one header.
const headerIndex = "item:InternetMessageHeader"

func writeHeaders(v *view, w *writer) {
	var list [][2]string
	shown := v.entries("item:InternetMessageHeaders", inAll)
	for _, line := range headerLines(v.text(fts.TagTransportHeaders)) {
		if n, val, ok := strings.Cut(line, ":"); ok && shown(headerIndex, n) {
			list = append(list, [2]string{n, strings.TrimSpace(val)})
		}
	}
	if len(list) == 0 {
		return
	}
	w.open("t:InternetMessageHeaders")
	for _, h := range list {
		w.text("t:InternetMessageHeader", h[1], "HeaderName", h[0])
	}
	w.close("t:InternetMessageHeaders")
}

// headerLines unfolds a header block.
func headerLines(block string) []string {
	var out []string
	for _, l := range strings.Split(strings.ReplaceAll(block, "\r\n", "\n"), "\n") {
		switch {
		case l == "":
		case (l[0] == ' ' || l[0] == '\t') && len(out) > 0:
			out[len(out)-1] += " " + strings.TrimSpace(l)
		default:
			out = append(out, l)
		}
	}
	return out
}
