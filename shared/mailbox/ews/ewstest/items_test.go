package ewstest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jhillyerd/enmime/v2"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

func TestFoldersInDepth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	sub, err := w.m.CreateFolder(w.known("inbox").ID, "Näher & <besser>", "")
	if err != nil {
		t.Fatal(err)
	}
	it := w.mail("inbox", "one", 1)
	body := func(traversal, parent string) string {
		return `<m:FindFolder Traversal="` + traversal + `"><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>
			<t:FieldURI FieldURI="folder:DisplayName"/><t:FieldURI FieldURI="folder:TotalCount"/>
			<t:ExtendedFieldURI PropertyTag="0x0E08" PropertyType="Long"/><t:ExtendedFieldURI PropertyTag="13826" PropertyType="Integer"/>
			</t:AdditionalProperties></m:FolderShape><m:ParentFolderIds>` + parent + `</m:ParentFolderIds></m:FindFolder>`
	}
	deep := w.ask(body("Deep", known("msgfolderroot"))).is("NoError")
	if !strings.Contains(deep.texts("DisplayName"), "Inbox,") || !strings.Contains(deep.texts("DisplayName"), sub.Name) {
		t.Errorf("deep: %s", deep.texts("DisplayName"))
	}
	w.ask(body("Shallow", known("inbox"))).is("NoError").eq("DisplayName", sub.Name).eq("Value", "0,0")
	all := w.ask(body("Shallow", known("msgfolderroot")+known("inbox"))).is("NoError,NoError")
	want := fmt.Sprintf("%d,1,", it.Stream.Size)
	if !strings.HasPrefix(all.texts("Value"), want) {
		t.Errorf("size and count of the inbox: %s, want %s", all.texts("Value"), want)
	}
	if tags := all.attrs("ExtendedFieldURI", "PropertyTag"); tags[0] != "0xe08" || tags[1] != "0x3602" {
		t.Errorf("tags come back as %v", tags)
	}
	w.ask(strings.Replace(body("Shallow", known("msgfolderroot")), "<m:ParentFolderIds>", `<m:Restriction><t:Contains ContainmentMode="Prefixed" ContainmentComparison="IgnoreCase"><t:FieldURI FieldURI="folder:DisplayName"/><t:Constant Value="in"/></t:Contains></m:Restriction><m:ParentFolderIds>`, 1)).
		is("NoError").eq("DisplayName", "Inbox")
	paged := strings.Replace(body("Deep", known("msgfolderroot")), "<m:ParentFolderIds>", `<m:IndexedPageFolderView MaxEntriesReturned="2" Offset="3" BasePoint="Beginning"/><m:ParentFolderIds>`, 1)
	if root := w.ask(paged).is("NoError").all("RootFolder")[0]; root.attr("IndexedPagingOffset") != "5" || root.attr("IncludesLastItemInRange") != "false" || root.attr("TotalItemsInView") == "2" {
		t.Errorf("page: %+v", root.attrs)
	}
}

func TestFoldersByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for name, want := range map[string]string{
		"msgfolderroot": "NoError", "root": "NoError", "recoverableitemsroot": "NoError", "recoverableitemspurges": "NoError", "calendar": "NoError",
		"archivemsgfolderroot": "ErrorFolderNotFound", "archiverecoverableitemsroot": "ErrorFolderNotFound", "voicemail": "ErrorFolderNotFound",
		"publicfoldersroot": "ErrorNoPublicFolderServerAvailable",
	} {
		w.ask(strings.Replace(inboxCount, `"inbox"`, `"`+name+`"`, 1)).is(want)
	}
	if e := w.ask(strings.Replace(inboxCount, `"inbox"`, `"calendar"`, 1)).all("CalendarFolder"); len(e) != 1 {
		t.Error("the calendar is no CalendarFolder")
	}
	id := func(s string) string {
		return strings.Replace(inboxCount, known("inbox"), `<t:FolderId Id="`+s+`"/>`, 1)
	}
	it := w.mail("inbox", "x", 1)
	w.ask(id(FolderID(w.m, w.known("inbox").ID))).is("NoError")
	w.ask(id(FolderID(w.m, 9999))).is("ErrorFolderNotFound")
	w.ask(id(FolderID(w.b, 3))).is("ErrorFolderNotFound")
	w.ask(id(ItemID(w.m, it))).is("ErrorCannotUseItemIdForFolderId")
	w.ask(id("AAMkAD")).is("ErrorInvalidIdMalformed")
	w.ask(id("")).is("ErrorInvalidIdEmpty")
	gone := w.ask(id(FolderID(exchangetest.New("x@x", exchangetest.Options{}), 3))).is("ErrorNonExistentMailbox")
	if got := gone.all("Value"); len(got) != 1 || got[0].attr("Name") != "MailboxGuid" {
		t.Errorf("values of the error: %s", gone.text)
	}
}

func TestMakeAndDropFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	makeFolder := func(kind, name string) answer {
		return w.ask(`<m:CreateFolder><m:ParentFolderId>` + known("inbox") + `</m:ParentFolderId><m:Folders><t:` + kind + `><t:DisplayName>` + name + `</t:DisplayName></t:` + kind + `></m:Folders></m:CreateFolder>`)
	}
	id := makeFolder("CalendarFolder", "Team").is("NoError").attrs("FolderId", "Id")[0]
	makeFolder("Folder", "TEAM").is("ErrorFolderExists")
	makeFolder("Folder", "a/b").is("ErrorFolderSave")
	if f := w.m.Folders(w.known("inbox").ID, false); len(f) != 1 || f[0].Class != "IPF.Appointment" {
		t.Fatalf("folders: %+v", f)
	}
	drop := func(e string) answer {
		return w.ask(`<m:DeleteFolder DeleteType="HardDelete"><m:FolderIds>` + e + `</m:FolderIds></m:DeleteFolder>`)
	}
	drop(`<t:FolderId Id="` + id + `"/>`).is("NoError")
	drop(`<t:FolderId Id="` + id + `"/>`).is("ErrorFolderNotFound")
	drop(known("inbox")).is("ErrorDeleteDistinguishedFolder")
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := mailOf(t, "x", 1)
	for range 1100 {
		w.add("inbox", m)
	}
	page := func(view string) (n int, root *element) {
		a := w.ask(find("inbox", view)).is("NoError")
		return len(a.all("ItemId")), a.all("RootFolder")[0]
	}
	for _, c := range []struct {
		name, view string
		n          int
		next, last string
	}{
		{"more than a page may have", `<m:IndexedPageItemView MaxEntriesReturned="5000" Offset="0" BasePoint="Beginning"/>`, 1000, "1000", "false"},
		{"the rest", `<m:IndexedPageItemView MaxEntriesReturned="5000" Offset="1000" BasePoint="Beginning"/>`, 100, "1100", "true"},
		{"beyond", `<m:IndexedPageItemView MaxEntriesReturned="10" Offset="2000" BasePoint="Beginning"/>`, 0, "1100", "true"},
		{"from the end", `<m:IndexedPageItemView MaxEntriesReturned="10" Offset="1095" BasePoint="End"/>`, 5, "1100", "true"},
		{"half", `<m:FractionalPageItemView MaxEntriesReturned="10" Numerator="1" Denominator="2"/>`, 10, "", "false"},
	} {
		n, root := page(c.view)
		if n != c.n || root.attr("IndexedPagingOffset") != c.next || root.attr("IncludesLastItemInRange") != c.last || root.attr("TotalItemsInView") != "1100" {
			t.Errorf("%s: %d rows, %+v", c.name, n, root.attrs)
		}
	}
	w.ask(find("inbox", "")).is("ErrorExceededFindCountLimit")
	w.as("svc", "secret", asAnna, find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="2000" Offset="0" BasePoint="Beginning"/>`)).is("ErrorServerBusy")
	w.ask(find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="0" Offset="0" BasePoint="Beginning"/>`)).is("ErrorInvalidPagingMaxRows")
	w.ask(find("inbox", `<m:IndexedPageItemView Offset="-1" BasePoint="Beginning"/>`)).is("ErrorInvalidIndexedPagingParameters")
	w.ask(find("inbox", `<m:FractionalPageItemView Numerator="3" Denominator="2"/>`)).is("ErrorInvalidFractionalPagingParameters")
}

func TestPageCapWithoutFindCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{FindCountLimit: 5000})
	m := mailOf(t, "x", 1)
	for range 1010 {
		w.add("inbox", m)
	}
	a := w.ask(find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="5000" Offset="0" BasePoint="Beginning"/>`)).is("NoError")
	if n := len(a.all("ItemId")); n != 1000 {
		t.Fatalf("%d rows", n)
	}
}

func TestListingSeesWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := w.mail("inbox", "a", 1)
	w.ask(find("inbox", "")).eq("Subject", "a")
	w.mail("inbox", "b", 2)
	w.ask(find("inbox", "")).eq("Subject", "b,a")
	if err := w.m.Delete(a.ID); err != nil {
		t.Fatal(err)
	}
	w.ask(find("inbox", "")).eq("Subject", "b")
}

func TestShortPagesReachTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{ShortPages: 7})
	for i := range 50 {
		w.mail("inbox", fmt.Sprint(i), i)
	}
	seen, pages := map[string]bool{}, 0
	for offset, last := "0", "false"; last != "true"; pages++ {
		a := w.ask(find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="20" Offset="`+offset+`" BasePoint="Beginning"/>`)).is("NoError")
		for _, id := range a.attrs("ItemId", "Id") {
			seen[id] = true
		}
		offset, last = a.all("RootFolder")[0].attr("IndexedPagingOffset"), a.all("RootFolder")[0].attr("IncludesLastItemInRange")
	}
	if len(seen) != 50 || pages <= 3 {
		t.Fatalf("%d items in %d pages", len(seen), pages)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for i, s := range []string{"b", "C", "a"} {
		w.mail("inbox", s, i)
	}
	order := func(direction, path string) string {
		return `<m:SortOrder><t:FieldOrder Order="` + direction + `">` + path + `</t:FieldOrder></m:SortOrder>`
	}
	for _, c := range []struct{ name, order, want string }{
		{"none: newest first", "", "a,C,b"},
		{"received", order("Ascending", `<t:FieldURI FieldURI="item:DateTimeReceived"/>`), "b,C,a"},
		{"subject", order("Ascending", `<t:FieldURI FieldURI="item:Subject"/>`), "a,b,C"},
		{"subject, down", order("Descending", `<t:FieldURI FieldURI="item:Subject"/>`), "C,b,a"},
		{"property", order("Descending", `<t:ExtendedFieldURI PropertyTag="0x0E06" PropertyType="SystemTime"/>`), "a,C,b"},
	} {
		w.ask(find("inbox", c.order)).is("NoError").eq("Subject", c.want)
	}
	w.ask(find("inbox", order("Ascending", `<t:FieldURI FieldURI="item:Body"/>`))).is("ErrorUnsupportedPathForSortGroup")
}

func TestRestrictions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for i := range 10 {
		m := mailOf(t, fmt.Sprintf("Number %d", i), i)
		if i%2 == 0 {
			m.Properties.Set(fts.Prop(fts.TagMessageFlags, int32(1)))
			m.Properties.Set(fts.Public("Keywords").Prop([]string{"even", "green"}))
		}
		w.add("inbox", m)
	}
	uri := func(f string) string { return `<t:FieldURI FieldURI="` + f + `"/>` }
	to := func(v string) string {
		return `<t:FieldURIOrConstant><t:Constant Value="` + v + `"/></t:FieldURIOrConstant>`
	}
	for _, c := range []struct {
		name, where string
		want        int
	}{
		{"equal flag", `<t:IsEqualTo>` + uri("message:IsRead") + to("true") + `</t:IsEqualTo>`, 5},
		{"not equal text", `<t:IsNotEqualTo>` + uri("item:Subject") + to("number 3") + `</t:IsNotEqualTo>`, 9},
		{"later", `<t:IsGreaterThan>` + uri("item:DateTimeReceived") + to("2026-02-03T09:07:00Z") + `</t:IsGreaterThan>`, 2},
		{"later or equal", `<t:IsGreaterThanOrEqualTo>` + uri("item:DateTimeReceived") + to("2026-02-03T09:07:00Z") + `</t:IsGreaterThanOrEqualTo>`, 3},
		{"earlier in a zone", `<t:IsLessThan>` + uri("item:DateTimeReceived") + to("2026-02-03T10:02:00+01:00") + `</t:IsLessThan>`, 2},
		{"one of many", `<t:IsEqualTo>` + uri("item:Categories") + to("Green") + `</t:IsEqualTo>`, 5},
		{"contains", `<t:Contains ContainmentMode="Substring" ContainmentComparison="IgnoreCase">` + uri("item:Subject") + `<t:Constant Value="ber 1"/></t:Contains>`, 1},
		{"contains, exact case", `<t:Contains ContainmentMode="Substring" ContainmentComparison="Exact">` + uri("item:Subject") + `<t:Constant Value="NUMBER"/></t:Contains>`, 0},
		{"exists", `<t:Exists><t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="Keywords" PropertyType="StringArray"/></t:Exists>`, 5},
		{"excludes", `<t:Excludes><t:ExtendedFieldURI PropertyTag="0x0E07" PropertyType="Integer"/><t:Bitmask Value="0x1"/></t:Excludes>`, 5},
		{"not", `<t:Not><t:IsEqualTo>` + uri("message:IsRead") + to("true") + `</t:IsEqualTo></t:Not>`, 5},
		{"and, or", `<t:And><t:IsEqualTo>` + uri("message:IsRead") + to("true") + `</t:IsEqualTo><t:Or><t:IsEqualTo>` + uri("item:Subject") + to("Number 2") + `</t:IsEqualTo><t:IsEqualTo>` + uri("item:Subject") + to("Number 3") + `</t:IsEqualTo></t:Or></t:And>`, 1},
		{"empty", ``, 10},
	} {
		if got := len(w.ask(find("inbox", "<m:Restriction>"+c.where+"</m:Restriction>")).is("NoError").all("ItemId")); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	w.ask(find("inbox", `<m:Restriction><t:Exists>`+uri("item:Attachments")+`</t:Exists></m:Restriction>`)).is("ErrorUnsupportedPathForQuery")
}

func TestListingShowsPropertiesAsATableDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := mailOf(t, strings.Repeat("ä", 300), 1)
	m.Properties.Set(fts.Prop(fts.TagSearchKey, []byte("0123456789abcdef")))
	it := w.add("inbox", m)
	list := func(paths string) answer {
		return w.ask(strings.Replace(find("inbox", ""), `<t:FieldURI FieldURI="item:Subject"/>`, paths, 1))
	}
	tag := func(tag, kind string) string {
		return `<t:ExtendedFieldURI PropertyTag="` + tag + `" PropertyType="` + kind + `"/>`
	}
	list(`<t:FieldURI FieldURI="item:Subject"/>`).is("NoError").eq("Subject", strings.Repeat("ä", 255))
	for _, c := range []struct{ name, path, want string }{
		{"search key", tag("0x300B", "Binary"), "MDEyMzQ1Njc4OWFiY2RlZg=="},
		{"record key", tag("0x0FF9", "Binary"), textValue(itemEntryID(w.m, it))},
		{"object type", tag("0x0FFE", "Integer"), "5"},
		{"decimal tag", tag("3592", "Integer"), fmt.Sprint(it.Stream.Size)},
		{"other type is another property", tag("0x300B", "String"), ""},
		{"time", tag("0x0E06", "SystemTime"), "2026-02-03T09:01:00Z"},
		{"cut text", tag("0x0037", "String"), strings.Repeat("ä", 255)},
	} {
		list(c.path).is("NoError").eq("Value", c.want)
	}
	for _, c := range []struct{ name, path, want string }{
		{"tag of a named property", tag("0x8000", "String"), "ErrorNoPropertyTagForCustomProperties"},
		{"type", tag("0x0037", "Object"), "ErrorUnsupportedMapiPropertyType"},
		{"tag and name", `<t:ExtendedFieldURI PropertyTag="0x37" PropertyName="x" PropertyType="String"/>`, "ErrorInvalidExtendedProperty"},
		{"set without name", `<t:ExtendedFieldURI DistinguishedPropertySetId="Common" PropertyType="String"/>`, "ErrorInvalidExtendedProperty"},
		{"two sets", `<t:ExtendedFieldURI DistinguishedPropertySetId="Common" PropertySetId="00020329-0000-0000-C000-000000000046" PropertyName="x" PropertyType="String"/>`, "ErrorInvalidExtendedProperty"},
		{"body", `<t:FieldURI FieldURI="item:Body"/>`, "ErrorInvalidPropertyRequest"},
		{"MIME", `<t:FieldURI FieldURI="item:MimeContent"/>`, "ErrorInvalidPropertyRequest"},
	} {
		list(c.path).is(c.want)
	}
}

func TestKindsOfItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for _, c := range []struct{ class, element string }{
		{"IPM.Note", "Message"}, {"IPM.Note.SMIME", "Message"}, {"IPM.StickyNote", "Message"}, {"IPM.Appointment", "CalendarItem"},
		{"IPM.Schedule.Meeting.Request", "MeetingRequest"}, {"IPM.Schedule.Meeting.Resp.Pos", "MeetingResponse"}, {"IPM.Schedule.Meeting.Canceled", "MeetingCancellation"},
		{"IPM.Contact", "Contact"}, {"IPM.DistList", "DistributionList"}, {"IPM.Task", "Task"}, {"IPM.Post", "PostItem"}, {"IPM.Appointments", "Message"},
	} {
		m := mailOf(t, c.class, 1)
		m.Properties.Set(fts.Prop(fts.TagMessageClass, c.class))
		it := w.add("inbox", m)
		for _, shape := range []string{"IdOnly", "Default", "AllProperties"} {
			a := w.ask(`<m:GetItem><m:ItemShape><t:BaseShape>` + shape + `</t:BaseShape></m:ItemShape>` + itemIDs(w.m, it) + `</m:GetItem>`).is("NoError")
			if len(a.all(c.element)) != 1 {
				t.Errorf("%s in %s is no %s: %s", c.class, shape, c.element, a.text)
			}
		}
	}
}

func TestEventShowsItsTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	start := time.Date(2026, 2, 3, 9, 0, 0, 0, time.UTC)
	w.add("calendar", compose.Event(compose.EventOptions{Subject: "Meeting", Start: start, End: start.Add(90 * time.Minute)}))
	view := func(from, to string) string {
		return `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>Default</t:BaseShape></m:ItemShape><m:CalendarView StartDate="` + from + `" EndDate="` + to + `"/><m:ParentFolderIds>` + known("calendar") + `</m:ParentFolderIds></m:FindItem>`
	}
	w.ask(view("2026-02-01T00:00:00Z", "2026-02-04T00:00:00Z")).is("NoError").eq("Start", "2026-02-03T09:00:00Z").eq("End", "2026-02-03T10:30:00Z")
	w.ask(view("2026-02-04T00:00:00Z", "2026-02-05T00:00:00Z")).is("NoError").eq("Start", "")
}

func TestItemWithBodyAttachmentsAndMIME(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := mailOf(t, "Grüße", 1)
	m.Properties.Set(fts.Prop(fts.TagHTML, []byte("<html><style>x</style><p>Hi &amp; bye</p></html>")))
	m.Attachments = append(m.Attachments, fts.Attachment{Number: 1, Embedded: mailOf(t, "inner", 2), Properties: fts.Properties{
		fts.Prop(fts.TagAttachMethod, int32(5)), fts.Prop(fts.TagDisplayName, "inner")}})
	it := w.add("inbox", m)
	get := func(shape string) answer {
		return w.ask(`<m:GetItem><m:ItemShape>` + shape + `</m:ItemShape>` + itemIDs(w.m, it) + `</m:GetItem>`).is("NoError")
	}
	get(`<t:BaseShape>Default</t:BaseShape><t:BodyType>HTML</t:BodyType>`).eq("Body", "<html><style>x</style><p>Hi &amp; bye</p></html>")
	text := get(`<t:BaseShape>Default</t:BaseShape><t:BodyType>Text</t:BodyType>`)
	if !strings.HasPrefix(text.texts("Body"), "Some text & more.") {
		t.Errorf("text body: %q", text.texts("Body"))
	}
	file := w.ask(`<m:GetAttachment><m:AttachmentIds><t:AttachmentId Id="` + text.attrs("AttachmentId", "Id")[0] + `"/></m:AttachmentIds></m:GetAttachment>`).is("NoError")
	file.eq("Content", "SGVsbG8=").eq("Name", "a.pdf")
	w.ask(`<m:GetAttachment><m:AttachmentIds><t:AttachmentId Id="`+text.attrs("AttachmentId", "Id")[1]+`"/></m:AttachmentIds></m:GetAttachment>`).is("NoError").eq("Subject", "inner")

	mime := get(`<t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent>`).texts("MimeContent")
	e, err := enmime.ReadEnvelope(bytes.NewReader(unbase64(t, mime)))
	if err != nil {
		t.Fatal(err)
	}
	if e.GetHeader("Subject") != "Grüße" || e.GetHeader("Message-ID") != "<m1@corp.test>" || !strings.Contains(e.HTML, "Hi &amp; bye") || len(e.Errors) != 0 {
		t.Errorf("MIME: %q %q %q %v", e.GetHeader("Subject"), e.GetHeader("Message-ID"), e.HTML, e.Errors)
	}
	if len(e.Attachments) != 2 || string(e.Attachments[0].Content) != "Hello" || !bytes.Contains(e.Attachments[1].Content, []byte("Subject: inner")) {
		t.Errorf("MIME attachments: %d", len(e.Attachments))
	}
	w.ask(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>` + itemIDs(w.m, it, exchangetest.Item{ID: 999, Folder: it.Folder}) + `</m:GetItem>`).is("NoError,ErrorItemNotFound")
}

func TestControlCharactersComeAsReferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := mailOf(t, "x", 1)
	m.Properties.Set(fts.Prop(fts.TagSubject, "a\x01b"))
	m.Properties.Set(fts.Prop(fts.TagNormalizedSubject, "a\x01b"))
	w.add("inbox", m)
	a, err := w.send("svc", "secret", envelope(version+asAnna, find("inbox", "")))
	if err == nil || !strings.Contains(a.text, "<t:Subject>a&#x1;b</t:Subject>") {
		t.Fatalf("%v: %s", err, a.text)
	}
}

func TestMoveCopyDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	op := func(name, to string, item exchangetest.Item) answer {
		return w.ask(`<m:` + name + `><m:ToFolderId>` + known(to) + `</m:ToFolderId>` + itemIDs(w.m, item) + `</m:` + name + `>`)
	}
	op("CopyItem", "drafts", it).is("NoError")
	id := op("MoveItem", "sentitems", it).is("NoError").attrs("ItemId", "Id")[0]
	if id == ItemID(w.m, it) {
		t.Error("a moved item keeps its id")
	}
	op("MoveItem", "drafts", it).is("ErrorItemNotFound")
	op("MoveItem", "archiveinbox", it).is("ErrorToFolderNotFound")
	sent := w.m.Items(w.known("sentitems").ID)[0]
	del := func(kind string, it exchangetest.Item) answer {
		return w.ask(`<m:DeleteItem DeleteType="` + kind + `">` + itemIDs(w.m, it) + `</m:DeleteItem>`)
	}
	del("MoveToDeletedItems", sent).is("NoError")
	del("SoftDelete", w.m.Items(w.known("deleteditems").ID)[0]).is("NoError")
	dumped := w.m.Items(w.known("recoverableitemsdeletions").ID)
	if len(dumped) != 1 {
		t.Fatalf("%d items in the dumpster", len(dumped))
	}
	del("HardDelete", dumped[0]).is("NoError")
	del("HardDelete", dumped[0]).is("ErrorItemNotFound")
}

func TestUpdateItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	update := func(key, conflict, uri, value string) answer {
		return w.ask(`<m:UpdateItem ConflictResolution="` + conflict + `" MessageDisposition="SaveOnly"><m:ItemChanges><t:ItemChange><t:ItemId Id="` + ItemID(w.m, it) + `" ChangeKey="` + key + `"/><t:Updates><t:SetItemField><t:FieldURI FieldURI="` + uri +
			`"/><t:Message>` + value + `</t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`)
	}
	old := ChangeKey(w.m, it)
	update(old, "AutoResolve", "message:IsRead", "<t:IsRead>true</t:IsRead>").is("NoError")
	update(old, "NeverOverwrite", "item:Subject", "<t:Subject>stale</t:Subject>").is("ErrorIrresolvableConflict")
	key := update(old, "AlwaysOverwrite", "item:Subject", "<t:Subject>new</t:Subject>").is("NoError").attrs("ItemId", "ChangeKey")[0]
	update(key, "AutoResolve", "item:Categories", "<t:Categories><t:String>a</t:String><t:String>b</t:String></t:Categories>").is("NoError")
	update("junk", "AutoResolve", "item:Subject", "<t:Subject>new</t:Subject>").is("ErrorInvalidChangeKey")
	update("", "AutoResolve", "item:Size", "<t:Size>1</t:Size>").is("ErrorInvalidPropertySet")
	a := w.ask(`<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape></m:ItemShape>` + itemIDs(w.m, it) + `</m:GetItem>`).is("NoError")
	a.eq("Subject", "new").eq("String", "a,b").eq("IsRead", "true")
}

func TestCreateItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	create := func(disposition, item string) answer {
		return w.ask(`<m:CreateItem` + disposition + `><m:SavedItemFolderId>` + known("inbox") + `</m:SavedItemFolderId><m:Items>` + item + `</m:Items></m:CreateItem>`)
	}
	mime := `<t:Message><t:MimeContent CharacterSet="UTF-8">U3ViamVjdDogZnJvbSBNSU1FDQoNCmhpDQo=</t:MimeContent></t:Message>`
	create(` MessageDisposition="SaveOnly"`, mime).is("NoError")
	create(` MessageDisposition="SaveOnly"`, `<t:Message><t:Subject>plain</t:Subject><t:Body BodyType="Text">b</t:Body><t:ToRecipients><t:Mailbox><t:EmailAddress>bo@corp.test</t:EmailAddress></t:Mailbox></t:ToRecipients></t:Message>`).is("NoError")
	create(``, mime).is("ErrorMessageDispositionRequired")
	create(` MessageDisposition="SendOnly"`, mime).is("ErrorSendAsDenied")
	create(` MessageDisposition="SaveOnly"`, `<t:Message><t:MimeContent>?</t:MimeContent></t:Message>`).is("ErrorMimeContentInvalidBase64String")
	w.ask(find("inbox", `<m:SortOrder><t:FieldOrder Order="Ascending"><t:FieldURI FieldURI="item:Subject"/></t:FieldOrder></m:SortOrder>`)).eq("Subject", "from MIME,plain")
}
