package graphtest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// round follows next links to the delta link and returns every entry.
func (w *world) round(link string, size int) (entries []map[string]any, delta string) {
	w.t.Helper()
	for link != "" {
		var p page
		r := w.do("GET", link, nil, "Prefer", fmt.Sprintf(`IdType="ImmutableId", odata.maxpagesize=%d`, size)).must(200)
		if r.into(&p); len(p.Value) > size || r.Header.Get("Preference-Applied") != fmt.Sprintf("odata.maxpagesize=%d", size) {
			w.t.Fatalf("%d entries on a page of %d: %v", len(p.Value), size, r.Header)
		}
		if (p.Next == "") == (p.Delta == "") {
			w.t.Fatalf("next %q, delta %q", p.Next, p.Delta)
		}
		entries, link, delta = append(entries, p.Value...), p.Next, p.Delta
	}
	return entries, delta
}

func ids(entries []map[string]any) string {
	var out []string
	for _, e := range entries {
		id := fmt.Sprint(e["id"])
		if r, ok := e["@removed"].(map[string]any); ok {
			id = fmt.Sprint(r["reason"], " ", id)
		}
		out = append(out, id)
	}
	return strings.Join(out, "\n")
}

func TestDeltaOfItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	a, b, c := w.add("inbox", "a"), w.add("inbox", "b"), w.add("inbox", "c")
	id := func(i int) string { return w.s.ItemID(w.m, []exchangeItem{a, b, c}[i]) }

	first, delta := w.round(w.at("/folders/inbox/items/delta?$select=type"), 2)
	if want := id(0) + "\n" + id(1) + "\n" + id(2); ids(first) != want {
		t.Fatalf("first round\n%s\nwant\n%s", ids(first), want)
	}
	if first[0]["type"] != "IPM.Note" || first[0]["size"] != nil {
		t.Errorf("selected %v", first[0])
	}
	none, delta := w.round(delta, 2)
	if len(none) != 0 {
		t.Errorf("nothing changed, but %v", none)
	}

	d := w.add("inbox", "d")
	if _, err := w.m.SetRead(b.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Move(c.ID, w.known("drafts").ID); err != nil {
		t.Fatal(err)
	}
	if err := w.m.Delete(a.ID); err != nil {
		t.Fatal(err)
	}
	changed, later := w.round(delta, 3)
	want := w.s.ItemID(w.m, d) + "\n" + id(1) + "\ndeleted " + id(2) + "\ndeleted " + id(0)
	if ids(changed) != want {
		t.Errorf("second round\n%s\nwant\n%s", ids(changed), want)
	}
	if changed[1]["size"] != nil {
		t.Errorf("$select is forgotten: %v", changed[1])
	}
	again, _ := w.round(delta, 10)
	if ids(again) != want {
		t.Errorf("the same token again\n%s\nwant\n%s", ids(again), want)
	}
	if none, _ := w.round(later, 3); len(none) != 0 {
		t.Errorf("third round %v", none)
	}
}

func TestDeltaWhileTheFolderChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	for i := range 4 {
		w.add("inbox", fmt.Sprint(i))
	}
	var p page
	w.get("/folders/inbox/items/delta", "Prefer", "odata.maxpagesize=3").must(200).into(&p)
	e := w.add("inbox", "new")
	seen, delta := p.Value, ""
	rest, delta := w.round(p.Next, 50)
	if seen = append(seen, rest...); len(seen) != 4 {
		t.Fatalf("first round has %d items, want the 4 it began with", len(seen))
	}
	if changed, _ := w.round(delta, 3); ids(changed) != w.s.ItemID(w.m, e) {
		t.Errorf("second round %s", ids(changed))
	}
}

func TestDeltaOfFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	first, delta := w.round(w.at("/folders/delta()"), 4)
	if n := len(first); n != len(w.m.Folders(w.known("msgfolderroot").ID, true))-1 { // without the hidden one
		t.Errorf("%d folders", n)
	}
	inbox := w.known("inbox").ID
	one, _ := w.m.CreateFolder(inbox, "one", "IPF.Note")
	two, _ := w.m.CreateFolder(one.ID, "two", "IPF.Note")
	changed, delta := w.round(delta, 1)
	if want := w.s.FolderID(w.m, one.ID) + "\n" + w.s.FolderID(w.m, two.ID); ids(changed) != want {
		t.Errorf("created\n%s\nwant\n%s", ids(changed), want)
	}
	if _, err := w.m.RenameFolder(one.ID, "uno"); err != nil {
		t.Fatal(err)
	}
	if err := w.m.DeleteFolder(two.ID); err != nil {
		t.Fatal(err)
	}
	changed, delta = w.round(delta, 10)
	if want := w.s.FolderID(w.m, one.ID) + "\ndeleted " + w.s.FolderID(w.m, two.ID); ids(changed) != want || changed[0]["displayName"] != "uno" {
		t.Errorf("changed\n%s\nwant\n%s", ids(changed), want)
	}
	if none, _ := w.round(delta, 10); len(none) != 0 {
		t.Errorf("nothing changed, but %v", none)
	}
	below, _ := w.round(w.at("/folders/inbox/childFolders/delta?$select=displayName"), 10)
	if len(below) != 1 || below[0]["displayName"] != "uno" || below[0]["type"] != nil {
		t.Errorf("below the inbox %v", below)
	}
}

func TestPreferredPagesHaveALimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	if got := w.get("/folders/delta", "Prefer", "odata.maxpagesize=5000").must(200).Header.Get("Preference-Applied"); got != "odata.maxpagesize=1000" {
		t.Errorf("applied %q", got)
	}
}

// Of the links of one collection only the newest are known.
func TestOldLinksAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{DeltaKept: graphtest.OutlookLinks})
	for i := range 4 {
		w.add("inbox", fmt.Sprint(i))
	}
	_, first := w.round(w.at("/folders/inbox/items/delta"), 10)
	_, other := w.round(w.at("/folders/drafts/items/delta"), 10)
	for range 3 {
		w.round(first, 10)
	}
	if r := w.do("GET", first, nil); r.Status != 410 || r.code() != "SyncStateNotFound" {
		t.Errorf("after three newer links: %d %s", r.Status, r.Body)
	}
	w.do("GET", other, nil).must(200)
	if all, _ := w.round(w.at("/folders/inbox/items/delta"), 1); len(all) != 4 {
		t.Errorf("%d entries in pages of one", len(all))
	}
}

func TestDeltaTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{DeltaLife: 30 * time.Minute})
	w.add("inbox", "a")
	w.add("inbox", "b")
	var p page
	w.get("/folders/inbox/items/delta?$top=1").must(200).into(&p)
	_, delta := w.round(w.at("/folders/inbox/items/delta"), 5)
	token := func(link, name string) string {
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		return url.QueryEscape(u.Query().Get(name))
	}
	d, s := token(delta, "$deltatoken"), token(p.Next, "$skiptoken")
	refused := func(code string, want int, names ...string) {
		t.Helper()
		for _, path := range names {
			if r := w.get(path); r.Status != want || r.code() != code {
				t.Errorf("%.60s: %d %s, want %d %s", path, r.Status, r.Body, want, code)
			}
		}
	}
	inbox := "/folders/inbox/items/delta?"
	refused("BadRequest", 400, inbox+"$deltatoken=x", inbox+"$deltatoken=", inbox+"$deltatoken="+d[:len(d)-2], inbox+"$skiptoken="+d,
		inbox+"$deltatoken="+s, inbox+"$deltatoken="+d+"&$skiptoken="+s, inbox+"$deltatoken="+d+"&$select=type",
		"/folders/drafts/items/delta?$deltatoken="+d, "/folders/delta?$deltatoken="+d)
	refused("ErrorInvalidUrlQuery", 400, inbox+"$filter=size gt 1", inbox+"$orderby=size", inbox+"$skip=1", inbox+"$expand=singleValueExtendedProperties($filter=id eq 'String 0x37')",
		"/folders/delta?$top=1")
	w.get(inbox + "$DeltaToken=" + d).must(200)
	w.s.ExpireDelta(w.m)
	refused("SyncStateNotFound", 410, inbox+"$deltatoken="+d, inbox+"$skiptoken="+s)
	_, delta = w.round(w.at("/folders/inbox/items/delta"), 5)
	w.clock.Advance(29 * time.Minute)
	w.do("GET", delta, nil).must(200)
	w.clock.Advance(time.Minute)
	if r := w.do("GET", delta, nil); r.Status != 410 || r.code() != "SyncStateNotFound" {
		t.Errorf("a token half an hour old: %d %s", r.Status, r.Body)
	}
}
