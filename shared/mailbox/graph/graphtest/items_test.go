package graphtest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

type exchangeItem = exchangetest.Item

func TestReadAndDeleteItems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	held := w.s.AddUser(graphtest.User{Mailbox: exchangetest.New("held@contoso.example", exchangetest.Options{}), Hold: true}).Mailbox
	it, second := w.add("inbox", "a"), w.add("inbox", "b")
	id := w.s.ItemID(w.m, it)
	var v map[string]any
	w.get("/folders/inbox/items/" + id).must(200).into(&v)
	if v["id"] != id || v["@odata.etag"] != `W/"`+fmt.Sprint(v["changeKey"])+`"` || v["createdDateTime"] != "2026-11-02T09:00:00Z" || v["type"] != "IPM.Note" {
		t.Errorf("item %v", v)
	}
	for _, c := range []struct {
		name, method, path, code string
		want                     int
	}{
		{"other folder", "GET", "/folders/drafts/items/" + id, "ErrorItemNotFound", 404},
		{"a folder's id", "GET", "/folders/inbox/items/" + w.folderID("inbox"), "ErrorInvalidIdMalformed", 400},
		{"item of no number", "GET", "/folders/inbox/items/" + w.s.ItemID(w.m, exchangeItem{ID: 99, Folder: it.Folder}), "ErrorItemNotFound", 404},
		{"filter on one item", "GET", "/folders/inbox/items/" + id + "?$filter=size gt 1", "BadRequest", 400},
		{"no disposal", "DELETE", "/folders/inbox/items/" + id, "BadRequest", 400},
		{"other disposal", "DELETE", "/folders/inbox/items/" + id + "?disposalType=moveToDeletedItems", "BadRequest", 400},
	} {
		if r := w.do(c.method, w.at(c.path), nil); r.Status != c.want || r.code() != c.code {
			t.Errorf("%s: %d %s", c.name, r.Status, r.Body)
		}
	}
	w.do("DELETE", w.at("/folders/inbox/items/"+id+"?disposalType=softDelete"), nil).must(204)
	w.get("/folders/inbox/items/" + id).must(404)
	var p page
	w.get("/folders/recoverableitemsdeletions/items").must(200).into(&p)
	if len(p.Value) != 1 {
		t.Fatalf("%d recoverable items, want 1", len(p.Value))
	}
	w.do("DELETE", w.at("/folders/recoverableitemsdeletions/items/"+fmt.Sprint(p.Value[0]["id"])+"?disposalType=hardDelete"), nil).must(204)
	w.do("DELETE", w.at("/folders/inbox/items/"+w.s.ItemID(w.m, second)+"?disposalType=hardDelete"), nil).must(204)
	if n := len(w.m.Items(it.Folder)); n != 0 {
		t.Errorf("%d items left", n)
	}
	inbox, err := held.Known("inbox")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := held.Add(inbox.ID, exchangetest.Bytes(message("kept")))
	if err != nil {
		t.Fatal(err)
	}
	u := w.s.URL() + "/admin/exchange/mailboxes/" + w.s.MailboxID(held) + "/folders/inbox/items/" + w.s.ItemID(held, kept)
	if r := w.do("DELETE", u+"?disposalType=hardDelete", nil); r.Status != 403 {
		t.Errorf("hard delete under hold: %d", r.Status)
	}
}

func TestExportsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	it := w.add("inbox", "a")
	id := w.s.ItemID(w.m, it)
	many := func(n int) string { return `{"itemIds":["` + strings.Repeat(id+`","`, n-1) + id + `"]}` }
	for _, c := range []struct {
		name, body string
		want       int
	}{
		{"twenty", many(20), 200},
		{"twenty-one", many(21), 400},
		{"none", `{"itemIds":[]}`, 400},
		{"absent", `{}`, 400},
		{"not a list", `{"itemIds":"` + id + `"}`, 400},
		{"numbers", `{"itemIds":[1]}`, 400},
		{"another parameter", `{"itemIds":["` + id + `"],"format":"eml"}`, 400},
		{"any case", `{"ITEMIDS":["` + id + `"]}`, 200},
	} {
		if r := w.do("POST", w.at("/exportItems"), c.body); r.Status != c.want {
			t.Errorf("%s: %d %.200s", c.name, r.Status, r.Body)
		}
	}
	w.do("POST", w.at("/microsoft.graph.exportItems"), many(1)).must(200)
	if r := w.do("GET", w.at("/exportItems"), nil).must(405); r.Header.Get("Allow") != "POST" {
		t.Errorf("not allowed without a word on what is: %v", r.Header)
	}
	w.s.RefuseExport(w.m, it.ID, "ErrorCorruptData")
	r := w.do("POST", w.at("/exportItems"), `{"itemIds":["`+id+`","`+w.s.ItemID(w.m, exchangeItem{ID: 99, Folder: it.Folder})+`"]}`).must(200)
	for _, code := range []string{`"code":"ErrorCorruptData"`, `"code":"ErrorItemNotFound"`} {
		if !strings.Contains(string(r.Body), code) {
			t.Errorf("no %s in %s", code, r.Body)
		}
	}
}

func TestImportsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	it := w.add("inbox", "old")
	folder, session := w.folderID("inbox"), w.session()
	data := base64.StdEncoding.EncodeToString(message("new"))
	var v map[string]any
	w.get("/folders/inbox/items/" + w.s.ItemID(w.m, it)).must(200).into(&v)
	id, change := fmt.Sprint(v["id"]), fmt.Sprint(v["changeKey"])
	for _, c := range []struct {
		name string
		body any
		code string
		want int
	}{
		{"escapes in the data", `{"Data":"` + strings.NewReplacer("+", `\u002B`, "/", `\/`).Replace(data) + `","FolderId":"` + folder + `","Mode":"create"}`, "", 200},
		{"no folder", map[string]string{"Mode": "create", "Data": data}, "BadRequest", 400},
		{"no mode", map[string]string{"FolderId": folder, "Data": data}, "BadRequest", 400},
		{"other mode", map[string]string{"FolderId": folder, "Mode": "append", "Data": data}, "BadRequest", 400},
		{"no data", map[string]string{"FolderId": folder, "Mode": "create"}, "BadRequest", 400},
		{"empty data", map[string]string{"FolderId": folder, "Mode": "create", "Data": ""}, "ErrorCorruptData", 500},
		{"camel case", map[string]string{"folderId": folder, "mode": "create", "data": data}, "BadRequest", 400},
		{"data twice", `{"FolderId":"` + folder + `","Mode":"create","Data":"` + data + `","Data":"` + data + `"}`, "BadRequest", 400},
		{"null for no id", `{"FolderId":"` + folder + `","Mode":"create","ItemId":null,"Data":"` + data + `"}`, "BadRequest", 400},
		{"null data", `{"FolderId":"` + folder + `","Mode":"create","Data":null}`, "BadRequest", 400},
		{"not JSON", `data`, "BadRequest", 400},
		{"cut off", `{"Data":"` + data, "BadRequest", 400},
		{"text after it", `{"FolderId":"` + folder + `","Mode":"create","Data":"` + data + `"}x`, "BadRequest", 400},
		{"bad base64", map[string]string{"FolderId": folder, "Mode": "create", "Data": data[:40] + "*" + data[41:]}, "ErrorInvalidRequest", 400},
		{"line break in the data", map[string]string{"FolderId": folder, "Mode": "create", "Data": data[:40] + "\r\n" + data[40:]}, "ErrorInvalidRequest", 400},
		{"no padding", map[string]string{"FolderId": folder, "Mode": "create", "Data": "AQA"}, "ErrorInvalidRequest", 400},
		{"text after the padding", map[string]string{"FolderId": folder, "Mode": "create", "Data": "AQA=AQAA"}, "ErrorInvalidRequest", 400},
		{"text after padding at a buffer's end", map[string]string{"FolderId": folder, "Mode": "create", "Data": strings.Repeat("AAAA", 255) + "AQA=AQAA"}, "ErrorInvalidRequest", 400},
		{"not a stream", map[string]string{"FolderId": folder, "Mode": "create", "Data": base64.StdEncoding.EncodeToString([]byte("From: me\r\n\r\nhello"))}, "ErrorCorruptData", 500},
		{"half a stream", map[string]string{"FolderId": folder, "Mode": "create", "Data": base64.StdEncoding.EncodeToString(message("x")[:200])}, "ErrorCorruptData", 500},
		{"well-known folder", map[string]string{"FolderId": "inbox", "Mode": "create", "Data": data}, "ErrorInvalidIdMalformed", 400},
		{"no such folder", map[string]string{"FolderId": w.s.FolderID(w.m, 99), "Mode": "create", "Data": data}, "ErrorFolderNotFound", 404},
		{"create with an id", map[string]string{"FolderId": folder, "Mode": "create", "Data": data, "ItemId": id}, "BadRequest", 400},
		{"create with a change key", map[string]string{"FolderId": folder, "Mode": "create", "Data": data, "ChangeKey": change}, "BadRequest", 400},
		{"update without an id", map[string]string{"FolderId": folder, "Mode": "update", "Data": data, "ChangeKey": change}, "BadRequest", 400},
		{"update without a change key", map[string]string{"FolderId": folder, "Mode": "update", "Data": data, "ItemId": id}, "BadRequest", 400},
		{"update in another folder", map[string]string{"FolderId": w.folderID("drafts"), "Mode": "update", "Data": data, "ItemId": id, "ChangeKey": change}, "ErrorItemNotFound", 404},
		{"update with nonsense", map[string]string{"FolderId": folder, "Mode": "update", "Data": data, "ItemId": id, "ChangeKey": "x"}, "ErrorInvalidChangeKey", 400},
		{"update", map[string]string{"FolderId": folder, "Mode": "update", "Data": data, "ItemId": id, "ChangeKey": change}, "", 200},
		{"update once more", map[string]string{"FolderId": folder, "Mode": "update", "Data": data, "ItemId": id, "ChangeKey": change}, "ErrorIrresolvableConflict", 412},
	} {
		if r := w.do("POST", session, c.body); r.Status != c.want || r.code() != c.code {
			t.Errorf("%s: %d %.300s", c.name, r.Status, r.Body)
		}
	}
	if n := len(w.m.Items(it.Folder)); n != 2 {
		t.Errorf("%d items, want the old one and one import", n)
	}
	w.s.Fill(w.m, true)
	if r := w.do("POST", session, importBody(folder, message("x"))); r.Status != 403 || r.code() != "ErrorQuotaExceeded" {
		t.Errorf("into a full mailbox: %d %s", r.Status, r.Body)
	}
}

func TestQuotaOfTheMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	small := exchangetest.New("small@contoso.example", exchangetest.Options{Quota: 300})
	w.m, w.id = small, w.s.AddMailbox(small)
	url, body := w.session(), importBody(w.folderID("inbox"), message("x"))
	w.do("POST", url, body).must(200)
	if r := w.do("POST", url, body); r.Status != 403 || r.code() != "ErrorQuotaExceeded" {
		t.Errorf("beyond the quota: %d %s", r.Status, r.Body)
	}
}

func TestUpdateWithTheKeyOfTheImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{SessionStatus: 201, ImportStatus: 201})
	var s struct{ ImportURL string }
	w.do("POST", w.at("/createImportSession"), `{"folderId":"whatever"}`).must(201).into(&s)
	folder := w.folderID("inbox")
	var in map[string]any
	w.do("POST", s.ImportURL, importBody(folder, message("one"))).must(201).into(&in)
	body := importBody(folder, message("two"))
	body["Mode"], body["ItemId"], body["ChangeKey"] = "update", fmt.Sprint(in["itemId"]), fmt.Sprint(in["changeKey"])
	var out map[string]any
	w.do("POST", s.ImportURL, body).must(201).into(&out)
	if out["itemId"] != in["itemId"] || out["changeKey"] == in["changeKey"] {
		t.Errorf("updated %v, was %v", out, in)
	}
	if it := w.m.Items(w.known("inbox").ID); len(it) != 1 || it[0].Summary.Subject != "two" {
		t.Errorf("items %+v", it)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{SessionLife: 20 * time.Minute, PlainImports: true})
	other := exchangetest.New("other@contoso.example", exchangetest.Options{})
	w.s.AddMailbox(other)
	body, session := importBody(w.folderID("inbox"), message("x")), w.session()
	if !strings.Contains(session, "/api/gv1.0/Mailboxes('"+w.id+"')/importItem?authtoken=eyJ") {
		t.Errorf("import URL %q", session)
	}
	for _, c := range []struct {
		name, method, url string
		want              int
	}{
		{"as it is", "POST", session, 200},
		{"percent-encoded", "POST", strings.NewReplacer("MBX:", "MBX%3A", "('", "(%27", "')", "%27)", w.s.Tenant()+"%27", w.s.Tenant()+"%27").Replace(session), 200},
		{"read", "GET", session, 405},
		{"no token", "POST", strings.Split(session, "?")[0], 401},
		{"changed token", "POST", session[:len(session)-3] + "AAA", 401},
		{"a Graph token", "POST", strings.Split(session, "=")[0] + "=" + w.token, 401},
		{"another mailbox", "POST", strings.Replace(session, w.id, w.s.MailboxID(other), 1), 403},
		{"another path", "POST", strings.Replace(session, "importItem", "exportItem", 1), 404},
	} {
		if r := w.do(c.method, c.url, body); r.Status != c.want {
			t.Errorf("%s: %d %.200s", c.name, r.Status, r.Body)
		}
	}
	if r := w.do("POST", strings.Split(session, "?")[0], body); r.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("refused without a challenge: %v", r.Header)
	}
	if r := w.do("POST", session, body, "Content-Type", "text/plain"); r.Status != 415 {
		t.Errorf("as text: %d", r.Status)
	}
	if r := w.do("POST", session, zipped(t, body), "Content-Encoding", "gzip"); r.Status != 415 {
		t.Errorf("compressed, where that is refused: %d", r.Status)
	}
	if r := w.do("GET", w.at("/folders"), nil, "Authorization", "Bearer "+strings.Split(session, "authtoken=")[1]); r.Status != 401 {
		t.Errorf("import token at Graph: %d", r.Status)
	}
	w.s.ExpireSessions(w.m)
	if r := w.do("POST", session, body); r.Status != 401 || r.code() != "InvalidAuthenticationToken" {
		t.Errorf("ended session: %d %s", r.Status, r.Body)
	}
	session = w.session()
	w.do("POST", session, body).must(200)
	w.clock.Advance(20 * time.Minute)
	w.do("POST", session, body).must(401)

	w.http.Jar = nil
	session = w.session()
	for range 3 {
		w.do("POST", session, body).must(200)
	}
	if n := w.s.Unbound(); n != 2 {
		t.Errorf("%d imports without the cookie, want 2", n)
	}
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func zipped(t *testing.T, body any) []byte {
	t.Helper()
	plain, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	body := map[string]string{"displayName": "x", "type": "IPF.Note"}
	w.do("POST", w.at("/folders"), zipped(t, body), "Content-Encoding", "gzip").must(201)
	w.do("POST", w.session(), zipped(t, importBody(w.folderID("inbox"), message("x"))), "Content-Encoding", "gzip").must(200)
	for _, c := range []struct {
		name, encoding string
		body           any
		want           int
	}{
		{"plain under a gzip label", "gzip", body, 400},
		{"cut off", "gzip", zipped(t, body)[:30], 400},
		{"other encoding", "br", body, 415},
		{"a bomb", "gzip", zipped(t, map[string]string{"displayName": strings.Repeat("x", 5_000_000)}), 413},
	} {
		if r := w.do("POST", w.at("/folders"), c.body, "Content-Encoding", c.encoding); r.Status != c.want {
			t.Errorf("%s: %d %.200s", c.name, r.Status, r.Body)
		}
	}
}

// bigImport yields the JSON of an import of n bytes of attachment without holding it.
func bigImport(folder string, n int64) io.Reader {
	r, w := io.Pipe()
	xs := func() (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(endless('x'), n)), nil }
	go func() {
		fmt.Fprintf(w, `{"Mode":"create","Data":"`)
		e := base64.NewEncoder(base64.StdEncoding, w)
		err := fts.Write(e, &fts.Message{Properties: fts.Properties{{ID: 0x001A, Type: fts.Unicode, Value: "IPM.Note"}},
			Attachments: []fts.Attachment{{Properties: fts.Properties{{ID: 0x3701, Type: fts.Binary, Value: fts.Large{Size: n, Open: xs}}}}}}, online)
		if err == nil {
			err = e.Close()
		}
		fmt.Fprintf(w, `","FolderId":"%s"}`, folder)
		w.CloseWithError(err)
	}()
	return r
}

// Not parallel: it measures memory.
func TestLargeItemsStream(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 100 MiB")
	}
	w := newWorld(t, graphtest.Options{})
	const size = 100 << 20
	req, err := http.NewRequest("POST", w.session(), bigImport(w.folderID("inbox"), size))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	peak := watchHeap(t)
	resp, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
		t.Fatalf("import: %d %s", resp.StatusCode, b)
	}
	items := w.m.Items(w.known("inbox").ID)
	if len(items) != 1 || items[0].Stream.Size < size {
		t.Fatalf("items %+v", items)
	}
	exp, err := http.NewRequest("POST", w.at("/exportItems"), strings.NewReader(`{"itemIds":["`+w.s.ItemID(w.m, items[0])+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	exp.Header.Set("Content-Type", "application/json")
	exp.Header.Set("Authorization", "Bearer "+w.token)
	if resp, err = w.http.Do(exp); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < size*4/3 {
		t.Fatalf("export: %d bytes, %v", n, err)
	}
	if grown := peak(); grown > 64<<20 {
		t.Errorf("heap grew by %d MiB for an item of %d MiB", grown>>20, size>>20)
	}
}

// endless yields one byte for ever.
type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

// watchHeap samples the heap until the returned function is called, which returns by how much it grew at most.
func watchHeap(t *testing.T) func() int64 {
	t.Helper()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	runtime.GC()
	base, most, stop, done := heap(), int64(0), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, heap()-base)
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return most
	}
}
