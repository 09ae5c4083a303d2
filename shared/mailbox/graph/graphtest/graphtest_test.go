package graphtest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// online is what Exchange Online stamps on what it imports.
var online = fts.Version{Major: 15, Minor: 20, Build: 4566, Revision: 6022}

// world is a server with one mailbox and a client of it.
type world struct {
	t     *testing.T
	s     *graphtest.Server
	clock *clockwork.FakeClock
	m     *exchangetest.Mailbox
	id    string
	token string
	http  *http.Client
}

func newWorld(t *testing.T, o graphtest.Options) *world {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC))
	o.Clock = clock
	s := graphtest.New(t, o)
	m := exchangetest.New("megan@contoso.example", exchangetest.Options{Clock: clock, Restamp: &online, SpillDir: t.TempDir()})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &world{t: t, s: s, clock: clock, m: m, id: s.AddMailbox(m), token: s.Token(),
		http: &http.Client{Jar: jar, Transport: transport}}
}

// reply is an answer with its body read.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
	t      *testing.T
}

func (r reply) code() string {
	var e struct {
		Error struct {
			Code       string
			Message    string
			InnerError map[string]string
		}
	}
	if len(r.Body) == 0 || json.Unmarshal(r.Body, &e) != nil {
		return ""
	}
	return e.Error.Code
}

func (r reply) into(v any) {
	r.t.Helper()
	switch v := v.(type) { // a map or a page left from before would be mixed with the new one
	case *page:
		*v = page{}
	case *map[string]any:
		*v = nil
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		r.t.Fatalf("answer %d is not JSON: %v: %.200s", r.Status, err, r.Body)
	}
}

func (r reply) must(status int) reply {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("status %d, want %d: %.300s", r.Status, status, r.Body)
	}
	return r
}

func (w *world) send(method, url string, body []byte, header ...string) (reply, error) {
	var b io.Reader
	if body != nil {
		b = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, b)
	if err != nil {
		return reply{}, err
	}
	if !strings.Contains(url, "authtoken=") {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, all, w.t}, err
}

func (w *world) do(method, url string, body any, header ...string) reply {
	w.t.Helper()
	var b []byte
	switch v := body.(type) {
	case nil:
	case string:
		b = []byte(v)
	case []byte:
		b = v
	default:
		var err error
		if b, err = json.Marshal(v); err != nil {
			w.t.Fatal(err)
		}
	}
	r, err := w.send(method, url, b, header...)
	if err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
	return r
}

// at is a URL below the mailbox. The path may carry a query in plain text.
func (w *world) at(path string) string {
	path, query, ok := strings.Cut(path, "?")
	u := w.s.URL() + "/admin/exchange/mailboxes/" + w.id + path
	if ok {
		u += "?" + strings.NewReplacer(" ", "%20", "'", "%27").Replace(query)
	}
	return u
}

func (w *world) get(path string, header ...string) reply {
	w.t.Helper()
	return w.do("GET", w.at(path), nil, header...)
}

func (w *world) known(name string) exchangetest.Folder {
	w.t.Helper()
	f, err := w.m.Known(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) folderID(name string) string { return w.s.FolderID(w.m, w.known(name).ID) }

// message is a small mail as a stream.
func message(subject string, more ...fts.Property) []byte {
	m := fts.Message{Properties: append(fts.Properties{
		{ID: 0x001A, Type: fts.Unicode, Value: "IPM.Note"},
		{ID: 0x0037, Type: fts.Unicode, Value: subject},
		{ID: 0x0E06, Type: fts.Time, Value: time.Date(2024, 5, 6, 7, 8, 9, 500_000_000, time.UTC)},
		{ID: 0x0E07, Type: fts.Int32, Value: int32(1)},
		{ID: 0x1035, Type: fts.Unicode, Value: "<" + subject + "@contoso.example>"},
	}, more...)}
	var b bytes.Buffer
	if err := fts.Write(&b, &m, online); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (w *world) add(folder, subject string, more ...fts.Property) exchangetest.Item {
	w.t.Helper()
	it, err := w.m.Add(w.known(folder).ID, exchangetest.Bytes(message(subject, more...)))
	if err != nil {
		w.t.Fatal(err)
	}
	return it
}

func (w *world) session() string {
	w.t.Helper()
	var s struct{ ImportURL, ExpirationDateTime string }
	w.do("POST", w.at("/createImportSession"), nil).must(200).into(&s)
	if _, err := time.Parse(time.RFC3339Nano, s.ExpirationDateTime); err != nil || len(s.ExpirationDateTime) != len("2024-10-17T19:00:48.1052906Z") {
		w.t.Fatalf("expirationDateTime %q", s.ExpirationDateTime)
	}
	return s.ImportURL
}

func importBody(folder string, stream []byte) map[string]string {
	return map[string]string{"FolderId": folder, "Mode": "create", "Data": base64.StdEncoding.EncodeToString(stream)}
}

type page struct {
	Context string           `json:"@odata.context"`
	Next    string           `json:"@odata.nextLink"`
	Delta   string           `json:"@odata.deltaLink"`
	Count   *int             `json:"@odata.count"`
	Value   []map[string]any `json:"value"`
}

func (p page) names(field string) string {
	var out []string
	for _, v := range p.Value {
		out = append(out, fmt.Sprint(v[field]))
	}
	return strings.Join(out, ",")
}

func TestMoveOneItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	it := w.add("inbox", "hello")

	var settings map[string]string
	w.do("GET", w.s.URL()+"/users/Megan@contoso.example/settings/exchange", nil).must(200).into(&settings)
	if settings["primaryMailboxId"] != w.id {
		t.Fatalf("primaryMailboxId %q, want %q", settings["primaryMailboxId"], w.id)
	}

	var created map[string]any
	w.do("POST", w.at("/folders"), map[string]string{"displayName": "Old", "type": "IPF.Note"}).must(201).into(&created)
	folder := created["id"].(string)

	var exported struct {
		Value []struct {
			ItemID, ChangeKey, Data string
			Error                   *struct{ Code string }
		}
	}
	w.do("POST", w.at("/exportItems"), map[string]any{"ItemIds": []string{w.s.ItemID(w.m, it), "gone"}}).must(200).into(&exported)
	if n := len(exported.Value); n != 2 || exported.Value[1].Error == nil || exported.Value[1].Error.Code != "ErrorInvalidIdMalformed" {
		t.Fatalf("exported %+v", exported)
	}
	stream, err := base64.StdEncoding.DecodeString(exported.Value[0].Data)
	if err != nil {
		t.Fatal(err)
	}

	importURL := w.session()
	for range 2 {
		var imported map[string]string
		w.do("POST", importURL, importBody(folder, stream)).must(200).into(&imported)
		if imported["itemId"] == "" || imported["changeKey"] == "" {
			t.Fatalf("imported %v", imported)
		}
	}
	var items page
	w.get("/folders/" + folder + "/items?$expand=singleValueExtendedProperties($filter=(id eq 'String 0x0037') or (ep/id eq 'SystemTime 0x0E06') or id eq 'String 0x3FFA')").must(200).into(&items)
	if len(items.Value) != 2 {
		t.Fatalf("%d items after the same import twice, want 2", len(items.Value))
	}
	want := "[map[id:String 0x37 value:hello] map[id:SystemTime 0xe06 value:2024-05-06T07:08:09Z]]"
	if got := fmt.Sprint(items.Value[0]["singleValueExtendedProperties"]); got != want {
		t.Errorf("extended properties %s, want %s", got, want)
	}
	if n := w.s.Unbound(); n != 0 {
		t.Errorf("%d imports without the cookie", n)
	}
	if c := w.s.Count(w.m, graphtest.ImportItem); c.Requests != 2 || c.In < 2*int64(len(stream))*4/3 {
		t.Errorf("counted %+v", c)
	}
}

func TestPagesAreCutBySkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	for i := range 25 {
		w.add("inbox", fmt.Sprintf("mail %02d", i))
		w.clock.Advance(time.Minute)
	}
	next, sizes, ids := w.at("/folders/Inbox/items?$count=true"), []int{}, map[any]bool{}
	for next != "" {
		var p page
		w.do("GET", next, nil).must(200).into(&p)
		if *p.Count != 25 {
			t.Fatalf("count %d, want 25", *p.Count)
		}
		sizes = append(sizes, len(p.Value))
		for _, v := range p.Value {
			ids[v["id"]] = true
		}
		next = p.Next
	}
	if fmt.Sprint(sizes) != "[10 10 5]" || len(ids) != 25 {
		t.Errorf("pages of %v with %d different ids", sizes, len(ids))
	}
	var p page
	w.get("/folders/inbox/items?$filter=createdDateTime ge 2026-11-02T09:10:00Z and createdDateTime lt 2026-11-02T09:13:00Z&$select=type,size&$top=1&$orderby=createdDateTime").must(200).into(&p)
	if len(p.Value) != 1 || !strings.Contains(p.Next, "%24skip=1") || !strings.Contains(p.Next, "%24top=1") {
		t.Fatalf("page %+v", p)
	}
	if _, ok := p.Value[0]["createdDateTime"]; ok || p.Value[0]["size"] == nil || p.Value[0]["id"] == nil {
		t.Errorf("selected %v", p.Value[0])
	}
	w.do("GET", p.Next, nil).must(200).into(&p)
	if u, err := url.Parse(p.Next); err != nil || u.Query().Get("$skip") != "2" {
		t.Errorf("second next link %q", p.Next)
	}
}
