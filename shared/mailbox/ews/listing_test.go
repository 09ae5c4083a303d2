package ews_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

func TestFolders(t *testing.T) {
	t.Parallel()
	hidden := `<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x10f4" PropertyType="Boolean"/><t:Value>true</t:Value></t:ExtendedProperty>`
	rows := []string{
		folder("Folder", "deep", "sub", "Tief &amp; &#x1F;tiefer", "<t:FolderClass>IPF.Note</t:FolderClass><t:TotalCount>3</t:TotalCount>"),
		folder("Folder", "in", "root", "Posteingang", "<t:FolderClass>IPF.Note</t:FolderClass><t:TotalCount>7</t:TotalCount>"),
		folder("CalendarFolder", "cal", "root", "Kalender", "<t:FolderClass>IPF.Appointment</t:FolderClass>"+hidden),
		folder("Folder", "sub", "in", "Sub", ""),
		folder("SearchFolder", "search", "root", "Ungelesen", ""),
		folder("Folder", "sync", "root", "Synchronisierungsprobleme", ""),
		folder("Folder", "conflict", "sync", "Konflikte", ""),
		folder("Folder", "quick", "root", "Quick Step Settings", hidden),
		folder("Folder", "below quick", "quick", "Visible", ""),
	}
	want := []mailbox.Folder{
		{ID: "in", Parent: "root", Name: "Posteingang", Class: "IPF.Note", Known: "inbox", Items: 7},
		{ID: "cal", Parent: "root", Name: "Kalender", Class: "IPF.Appointment", Known: "calendar"},
		{ID: "sub", Parent: "in", Name: "Sub", Class: "IPF.Note"},
		{ID: "deep", Parent: "sub", Name: "Tief & \uFFFDtiefer", Class: "IPF.Note", Items: 3},
	}
	for _, short := range []int{1, 2, 3, 1000} {
		t.Run(fmt.Sprintf("pages of %d", short), func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.on("GetFolder", byName(map[string]string{"inbox": "in", "calendar": "cal", "syncissues": "sync"}))
			x.on("FindFolder", view("FindFolder", "Folders", short, func(int) []string { return rows }))
			got, err := x.open().Folders(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

func TestFoldersWithoutAParentAreKept(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.on("FindFolder", view("FindFolder", "Folders", 10, func(int) []string {
		return []string{folder("Folder", "b", "a", "B", ""), folder("Folder", "a", "gone", "A", ""),
			folder("Folder", "x", "y", "X", ""), folder("Folder", "y", "x", "Y", "")}
	}))
	got, err := x.open().Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tree []string
	for _, f := range got {
		tree = append(tree, string(f.Parent+"/"+f.ID))
	}
	if want := []string{"root/a", "a/b", "root/x", "x/y"}; !slices.Equal(tree, want) {
		t.Fatalf("got %v, want %v", tree, want)
	}
}

func TestWellKnownFoldersThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s := x.open()
	x.on("GetFolder", func(body string) string {
		return strings.Replace(rootOnly(body), "ErrorFolderNotFound", "ErrorMailboxStoreUnavailable", 1)
	})
	if _, err := s.Folders(t.Context()); !errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("a folder that is only unavailable was taken for one that is not there: %v", err)
	}
	x.on("GetFolder", func(string) string {
		return answered("GetFolder", refused("GetFolder", "NoError")+refused("GetFolder", "NoError"))
	})
	if _, err := s.Folders(t.Context()); err == nil || !strings.Contains(err.Error(), "answer has 2") {
		t.Fatalf("got %v", err)
	}
}

// The awkward item has other prefixes, decimal tags, a control character, an emoji and values that cannot be read.
const awkward = `<x:CalendarItem><x:ItemId Id="id=1&amp;" ChangeKey="k"/><x:ItemClass>IPM.Appointment</x:ItemClass>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="3592" PropertyType="Integer"/><x:Value>81920</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x300b" PropertyType="Binary"/><x:Value>AQID</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x1035" PropertyType="String"/><x:Value>&lt;a@b&gt;</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x37" PropertyType="String"/><x:Value>Re: &#x1F;Ünal &#128512;&#xD83D;</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xc1f" PropertyType="String"/><x:Value>/O=CORP/CN=USER</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x39" PropertyType="SystemTime"/><x:Value>2026-11-20T12:00:00Z</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe06" PropertyType="SystemTime"/><x:Value>2026-11-20T13:00:01.5+01:00</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe04" PropertyType="String"/><x:Value>A; B</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe03" PropertyType="String"/><x:Value>C</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe02" PropertyType="String"/><x:Value>D</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe07" PropertyType="Integer"/><x:Value>25</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x1090" PropertyType="Integer"/><x:Value>2</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0x17" PropertyType="Integer"/><x:Value>many</x:Value></x:ExtendedProperty>
<x:ExtendedProperty><x:ExtendedFieldURI PropertyTag="0xe1b" PropertyType="Boolean"/><x:Value>true</x:Value></x:ExtendedProperty>
</x:CalendarItem>`

func TestItemProperties(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.on("FindItem", func(body string) string {
		s := view("FindItem", "Items", 10, func(int) []string { return []string{awkward, message("plain")} })(body)
		return strings.Replace(s, namespaces, namespaces+` xmlns:x="http://schemas.microsoft.com/exchange/services/2006/types"`, 1)
	})
	var got []mailbox.Item
	for it, err := range x.open().Items(t.Context(), `folder<&"`) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, it)
	}
	want := []mailbox.Item{{ID: "id=1&", Change: "k", Size: 81920, Properties: mailbox.Properties{
		Class: "IPM.Appointment", SearchKey: []byte{1, 2, 3}, MessageID: "<a@b>", Subject: "Re: \uFFFDÜnal 😀\uFFFD", Sender: "/O=CORP/CN=USER",
		Submitted: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Received: time.Date(2026, 11, 20, 12, 0, 1, 5e8, time.UTC),
		To: "A; B", Cc: "C", Bcc: "D", Flags: 25, FlagStatus: 2, Attachments: true,
	}}, {ID: "plain", Change: "c", Properties: mailbox.Properties{Class: "IPM.Note"}}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got\n%+v\nwant\n%+v", got, want)
	}
	if r := x.requests[len(x.requests)-1]; !strings.Contains(r, `<t:FolderId Id="folder&lt;&amp;&#34;"/>`) ||
		!strings.Contains(r, `<t:ExtendedFieldURI PropertyTag="0x0E1B" PropertyType="Boolean"/>`) {
		t.Errorf("request %s", r)
	}
}

func TestItemsNeitherSkipNorRepeat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		short    int
		rows     func(call int) []string
		from, to int // ids that must be listed, exactly once
	}{
		{"one page", 1000, func(int) []string { return messages(0, 3) }, 0, 3},
		{"an empty folder", 1000, func(int) []string { return nil }, 0, 0},
		{"several pages", 1000, func(int) []string { return messages(0, 1500) }, 0, 1500},
		{"a last page that is full", 1000, func(int) []string { return messages(0, 1023) }, 0, 1023},
		{"short pages", 7, func(int) []string { return messages(0, 40) }, 0, 40},
		{"pages of one", 1, func(int) []string { return messages(0, 5) }, 0, 5},
		{"new mail at the end", 1000, func(call int) []string { return messages(0, 1500+call) }, 0, 1500},
		{"mail moved in at the beginning", 1000, func(call int) []string { return append(messages(9000, 9000+call*100), messages(0, 1500)...) }, 0, 1500},
		{"a few deleted between pages", 1000, func(call int) []string { return messages(call*30, 1500) }, 90, 1500},
		{"a whole page deleted between pages", 1000, func(call int) []string { return messages(min(call, 1)*600, 1500) }, 600, 1500},
		{"so much deleted that the next page is empty", 1000, func(call int) []string { return messages(min(call, 1)*512, 1000) }, 512, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.on("FindItem", view("FindItem", "Items", test.short, test.rows))
			items := x.open().Items(t.Context(), "f")
			if test.name == "several pages" { // a listing may be ranged over again
				if _, err := listed(t, items); err != nil {
					t.Fatal(err)
				}
			}
			got, err := listed(t, items)
			if err != nil {
				t.Fatal(err)
			}
			times := map[string]int{}
			for _, id := range got {
				if times[id]++; times[id] > 1 {
					t.Fatalf("item %s was listed twice", id)
				}
			}
			for i := test.from; i < test.to; i++ {
				if times[fmt.Sprint(i)] != 1 {
					t.Fatalf("item %d is missing among %d", i, len(got))
				}
			}
		})
	}
}

func TestItemsGiveUpForNow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func(body string) string
		want   string
	}{
		{"pages without rows", func(string) string {
			return answered("FindItem", ok("FindItem", `<m:RootFolder IndexedPagingOffset="0" IncludesLastItemInRange="false"><t:Items/></m:RootFolder>`))
		}, "listing stands still at row 0"},
		{"rows that never stay", func() func(string) string {
			n := 0
			return view("FindItem", "Items", 600, func(int) []string { n += 1500; return messages(n, n+1500) })
		}(), "rows keep moving"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.on("FindItem", test.answer)
			_, err := listed(t, x.open().Items(t.Context(), "f"))
			if !errors.Is(err, mailbox.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestItemsOfAFolderThatIsGone(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"ErrorFolderNotFound", "ErrorItemNotFound"} {
		x := newExchange(t)
		x.on("FindItem", func(string) string { return answered("FindItem", refused("FindItem", code)) })
		if _, err := listed(t, x.open().Items(t.Context(), "f")); !errors.Is(err, mailbox.ErrNoFolder) {
			t.Errorf("%s: got %v", code, err)
		}
	}
}

func TestItemsMayBeLeftEarly(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.on("FindItem", view("FindItem", "Items", 1000, func(int) []string { return messages(0, 2000) }))
	for range x.open().Items(t.Context(), "f") {
		break
	}
	if n := x.sent("FindItem"); n != 1 {
		t.Errorf("asked for %d pages", n)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s := x.open()
	item := func(id string) string { return `<t:Message><t:ItemId Id="` + id + `" ChangeKey="c"/></t:Message>` }
	x.on("SyncFolderItems", func(body string) string {
		if !strings.Contains(body, "<m:SyncState>") {
			return answered("SyncFolderItems", ok("SyncFolderItems", `<m:SyncState>one</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes>`+
				`<t:Create>`+item("a")+`</t:Create><t:Update>`+item("b")+`</t:Update><t:Delete><t:ItemId Id="c"/></t:Delete>`+
				`<t:ReadFlagChange><t:ItemId Id="d"/><t:IsRead>true</t:IsRead></t:ReadFlagChange></m:Changes>`))
		}
		if !strings.Contains(body, "<m:SyncState>one</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned>") {
			t.Errorf("request %s", body)
		}
		return answered("SyncFolderItems", ok("SyncFolderItems", `<m:SyncState>two</m:SyncState><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange><m:Changes/>`))
	})
	got, err := s.Changes(t.Context(), "f", "")
	want := mailbox.Changes{Items: 4, State: "one", More: true}
	if err != nil || got != want {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err = s.Changes(t.Context(), "f", got.State); err != nil || got != (mailbox.Changes{State: "two"}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	x.on("SyncFolderItems", func(string) string {
		return answered("SyncFolderItems", refused("SyncFolderItems", "ErrorInvalidSyncStateData"))
	})
	if _, err := s.Changes(t.Context(), "f", "old"); !errors.Is(err, mailbox.ErrStartAgain) {
		t.Fatalf("got %v", err)
	}
	x.on("SyncFolderItems", func(string) string { return answered("SyncFolderItems", ok("SyncFolderItems", `<m:Changes/>`)) })
	if _, err := s.Changes(t.Context(), "f", "old"); !errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("an answer without a state: %v", err)
	}
}

func TestListingAnswersAreBounded(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s := x.open()
	x.answer["FindItem"] = func(w http.ResponseWriter, _ string) {
		before, after, _ := strings.Cut(answered("FindItem", ok("FindItem", `<m:RootFolder><t:Items>|</t:Items></m:RootFolder>`)), "|")
		fmt.Fprint(w, before, strings.Repeat(message("a"), 10_001), after)
	}
	if _, err := listed(t, s.Items(t.Context(), "f")); err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Errorf("got %v", err)
	}
	x.answer["FindItem"] = func(w http.ResponseWriter, _ string) {
		fmt.Fprint(w, `<Envelope><Body><FindItemResponseMessage>`, strings.Repeat("<a>", 100))
	}
	if _, err := listed(t, s.Items(t.Context(), "f")); err == nil || !strings.Contains(err.Error(), "nested deeper than 64") {
		t.Errorf("got %v", err)
	}
}
