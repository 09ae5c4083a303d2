package ewstest

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

func newMailbox() *exchangetest.Mailbox { return exchangetest.New(address, exchangetest.Options{}) }

func (w *world) export(items ...exchangetest.Item) answer {
	w.t.Helper()
	return w.ask(`<m:ExportItems>` + itemIDs(w.m, items...) + `</m:ExportItems>`)
}

func TestExportGivesTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a, b := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2)
	got := w.export(b, a).is("NoError,NoError")
	for i, it := range []exchangetest.Item{b, a} {
		data := got.all("Data")[i].text
		if !bytes.Equal(unbase64(t, data), stream(t, it)) {
			t.Errorf("item %d: other bytes", i)
		}
		if first, _, _ := strings.Cut(data, "\n"); len(strings.TrimSpace(first)) != 76 {
			t.Errorf("lines of %d characters", len(first))
		}
		if got.attrs("ItemId", "Id")[i] != ItemID(w.m, it) {
			t.Errorf("item %d: other id", i)
		}
	}
}

func TestExportRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	good, bad := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2)
	w.s.CorruptItem(w.m, bad.ID)
	w.export(bad, good).is("ErrorItemCorrupt,NoError")
	w.export(exchangetest.Item{ID: 999, Folder: good.Folder}, good).is("ErrorItemNotFound,NoError")
	w.export(exchangetest.Item{ID: good.ID, Folder: good.Folder + 1}).is("ErrorItemNotFound")
	w.ask(`<m:ExportItems><m:ItemIds><t:ItemId Id="` + ItemID(w.m, good) + `" ChangeKey="` + ChangeKey(w.m, bad) + `"/><t:ItemId Id="` + ItemID(w.m, good) + `" ChangeKey="` + ChangeKey(w.m, good) +
		`"/><t:ItemId Id="x"/><t:ItemId Id="` + FolderID(w.m, good.Folder) + `"/></m:ItemIds></m:ExportItems>`).
		is("ErrorInvalidChangeKey,NoError,ErrorInvalidIdMalformed,ErrorCannotUseFolderIdForItemId")
	w.s.MoveMailbox(w.m, true)
	w.export(good).is("ErrorMailboxMoveInProgress")
}

func TestTruncatedExportIsASuccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "a", 1)
	w.s.Truncate(w.m, it.ID)
	got := unbase64(t, w.export(it).is("NoError").texts("Data"))
	if !bytes.HasSuffix(got, []byte("=== Truncated Data ===")) || !bytes.HasPrefix(stream(t, it), got[:len(got)-len(truncation)]) || len(got) >= int(it.Stream.Size)+len(truncation) {
		t.Fatalf("%d bytes of %d", len(got), it.Stream.Size)
	}
	if _, err := fts.Check(bytes.NewReader(got)); err == nil {
		t.Fatal("the truncated stream passes as complete")
	}
}

func TestConnectionCutInData(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "a", 1)
	w.s.CutConnection(w.m, it.ID, 1)
	if a, err := w.send("svc", "secret", envelope(version+asAnna, `<m:ExportItems>`+itemIDs(w.m, it)+`</m:ExportItems>`)); err == nil {
		t.Fatalf("an answer came: %s", a.text)
	}
	w.export(it).is("NoError")
}

func TestBatchStops(t *testing.T) {
	t.Parallel()
	clock := fakeClock()
	w := newWorld(t, Options{Clock: clock})
	a, b, c := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2), w.mail("inbox", "c", 3)
	w.s.BatchStopAfter(2)
	got := w.export(a, b, c).is("NoError,NoError,ErrorBatchProcessingStopped")
	if class := got.attrs("ExportItemsResponseMessage", "ResponseClass"); class[2] != "Warning" {
		t.Errorf("class %v", class)
	}
	w.s.BatchStopAfter(0)

	w.s.Slow(31 * time.Second) // two of them use up the minute
	done := make(chan answer)
	go func() { done <- w.export(a, b, c) }()
	for range 2 {
		if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
			t.Error(err)
		}
		clock.Advance(31 * time.Second)
	}
	(<-done).is("NoError,NoError,ErrorBatchProcessingStopped")
}

func TestItemChangesBetweenListingAndExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	gone, moved, edited := w.mail("inbox", "a", 1), w.mail("inbox", "b", 2), w.mail("inbox", "c", 3)
	w.s.BeforeExport(w.m, gone.ID, func() { _ = w.m.Delete(gone.ID) })
	w.s.BeforeExport(w.m, moved.ID, func() { _, _ = w.m.Move(moved.ID, w.known("drafts").ID) })
	w.s.BeforeExport(w.m, edited.ID, func() { _, _ = w.m.SetRead(edited.ID, true) })
	got := w.export(gone, moved, edited).is("ErrorItemNotFound,ErrorItemNotFound,NoError")
	if bytes.Equal(unbase64(t, got.texts("Data")), stream(t, edited)) {
		t.Error("the edited item was exported as it was")
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxUpload: 100_000})
	it := w.mail("inbox", "a", 1)
	data := w.export(it).is("NoError").texts("Data")
	upload := func(action, id, data string) answer {
		return w.ask(`<m:UploadItems><m:Items><t:Item CreateAction="` + action + `" IsAssociated="false"><t:ParentFolderId Id="` + FolderID(w.m, w.known("drafts").ID) + `"/>` + id + `<t:Data>` + data + `</t:Data></t:Item></m:Items></m:UploadItems>`)
	}
	upload("CreateNew", "", data).is("NoError")
	made := w.m.Items(w.known("drafts").ID)[0]
	if made.Digest != it.Digest {
		t.Error("the uploaded item has other bytes")
	}
	item := func(key string) string {
		return `<t:ItemId Id="` + ItemID(w.m, made) + `" ChangeKey="` + key + `"/>`
	}
	upload("Update", item(ChangeKey(w.m, made)), data).is("NoError")
	upload("Update", item(ChangeKey(w.m, made)), data).is("ErrorIrresolvableConflict")
	missing := `<t:ItemId Id="` + ItemID(w.m, exchangetest.Item{ID: 999, Folder: made.Folder}) + `"/>`
	upload("Update", missing, data).is("ErrorItemNotFound")
	upload("UpdateOrCreate", missing, data).is("NoError")
	upload("CreateNew", "", data[:len(data)/2]).is("ErrorCorruptData")
	upload("CreateNew", "", "AAAA").is("ErrorCorruptData")
	upload("CreateNew", "", "!").is("ErrorCorruptData")
	upload("CreateNew", "", strings.Repeat("A", 100_001)).is("ErrorDataSizeLimitExceeded")
	associated := strings.Replace(`<m:UploadItems><m:Items><t:Item CreateAction="CreateNew" IsAssociated="true"><t:ParentFolderId Id="PARENT"/><t:Data>AAAA</t:Data></t:Item></m:Items></m:UploadItems>`,
		"PARENT", FolderID(w.m, w.known("drafts").ID), 1)
	w.ask(associated).is("ErrorInvalidOperation")
	if n := len(w.m.Items(w.known("drafts").ID)); n != 2 {
		t.Errorf("%d items in the folder, want 2", n)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	clock := fakeClock()
	w := newWorld(t, Options{Clock: clock})
	w.s.Busy("svc", 1500*time.Millisecond, 1)
	refused := func(ms string) {
		t.Helper()
		a := w.ask(inboxCount).is("ErrorServerBusy").eq("Value", ms)
		if a.status != http.StatusInternalServerError || a.texts("faultcode") != "a:ErrorServerBusy" {
			t.Fatalf("status %d: %s", a.status, a.text)
		}
	}
	refused("1500")
	clock.Advance(time.Second)
	refused("500")
	w.as("anna", "geheim", version, inboxCount).is("NoError") // another account has its own budget
	clock.Advance(500 * time.Millisecond)
	w.ask(inboxCount).is("NoError")
	w.s.Busy("svc", 0, 2)
	refused("")
	refused("")
	w.ask(inboxCount).is("NoError")
	if got := w.s.Refusals("svc"); got != 4 {
		t.Errorf("%d refusals", got)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.s.Unavailable(1)
	if a := w.ask(inboxCount); a.status != http.StatusServiceUnavailable {
		t.Fatalf("status %d", a.status)
	}
	w.ask(inboxCount).is("NoError")
}

func TestConcurrencyOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{MaxConcurrency: 3})
	inside, leave := make(chan bool), make(chan bool)
	w.s.Before("GetFolder", func(r Request) {
		if r.Mailbox != w.m || r.Account != "svc" {
			t.Errorf("hook saw %+v", r)
		}
		inside <- true
		<-leave
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { w.ask(inboxCount).is("NoError") })
		<-inside
	}
	w.ask(inboxCount).is("ErrorExceededConnectionCount")
	w.as("anna", "geheim", version, find("inbox", "")).is("NoError")
	close(leave)
	wg.Wait()
}

func TestHooksSeeItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "a", 1)
	var seen []uint64
	w.s.Before("ExportItems", func(r Request) { seen = r.Items })
	w.export(it, exchangetest.Item{ID: 999}).is("NoError,ErrorItemNotFound")
	if len(seen) != 1 || seen[0] != it.ID {
		t.Fatalf("items %v", seen)
	}
}

func TestFindCountIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{FindCountLimit: 3})
	for i := range 5 {
		w.mail("inbox", "x", i)
	}
	a := w.ask(find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="5" Offset="0" BasePoint="Beginning"/>`)).is("NoError")
	if n, root := len(a.all("ItemId")), a.all("RootFolder")[0]; n != 3 || root.attr("IndexedPagingOffset") != "3" || root.attr("IncludesLastItemInRange") != "false" {
		t.Fatalf("%d rows, %+v", n, root.attrs)
	}
	w.ask(find("inbox", "")).is("ErrorExceededFindCountLimit")
}

func TestBurstBudget(t *testing.T) {
	t.Parallel()
	clock := fakeClock()
	w := newWorld(t, Options{Clock: clock, Burst: &Burst{Max: 5 * time.Minute, Recharge: 15 * time.Minute, Cutoff: -time.Minute}})
	it := w.mail("inbox", "a", 1)
	w.s.Slow(10 * time.Minute)
	spend(t, clock, func() { w.export(it).is("NoError") })
	w.ask(inboxCount).is("ErrorServerBusy") // two and a half minutes below nothing, and the cutoff is one
	clock.Advance(11 * time.Minute)         // refilled to above zero
	w.ask(inboxCount).is("NoError")
}

func spend(t *testing.T, clock *clockwork.FakeClock, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() { f(); close(done) }()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Error(err)
	}
	clock.Advance(10 * time.Minute)
	<-done
}
