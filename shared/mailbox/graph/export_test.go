package graph_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
)

// export1 exports ids and tells in words what was called: id=bytes or id!error.
func export1(t *testing.T, m *graph.Mailbox, ids ...mailbox.ItemID) (string, error) {
	t.Helper()
	var said []string
	err := m.Export(t.Context(), ids, func(i int, r io.Reader, err error) error {
		if err != nil {
			said = append(said, fmt.Sprintf("%s!%v", ids[i], err))
			return nil
		}
		b, err := io.ReadAll(r)
		if err != nil {
			said = append(said, fmt.Sprintf("%s?%v", ids[i], err))
			return err
		}
		said = append(said, fmt.Sprintf("%s=%s", ids[i], b))
		return nil
	})
	return strings.Join(said, " "), err
}

// exporter answers exportItems with one function per request; the last one stays. It records what was asked for.
type exporter struct {
	mu    sync.Mutex
	asked [][]string
	turns []func(ids []string) string
}

func (e *exporter) handler(w http.ResponseWriter, r *http.Request) {
	var body struct {
		ItemIDs []string `json:"itemIds"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	e.mu.Lock()
	e.asked = append(e.asked, body.ItemIDs)
	turn := e.turns[0]
	if len(e.turns) > 1 {
		e.turns = e.turns[1:]
	}
	e.mu.Unlock()
	out := turn(body.ItemIDs)
	if status, code, ok := strings.Cut(out, " "); ok && len(status) == 3 {
		answer(map[string]int{"400": 400, "404": 404, "500": 500, "503": 503}[status], errorBody(code))(w, r)
		return
	}
	whole, isCut := strings.CutSuffix(out, "…")
	answer(200, whole)(w, r)
	if isCut {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func (e *exporter) said() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, ids := range e.asked {
		out = append(out, strings.Join(ids, ","))
	}
	return strings.Join(out, " ")
}

// good is an answer with the ids' names as their content.
func good(ids []string) string { return `{"value":[` + strings.Join(entries(ids), ",") + `]}` }

func entries(ids []string) []string {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf(`{"itemId":%q,"changeKey":"k","data":%q}`, id, base64.StdEncoding.EncodeToString([]byte("<"+id+">"))))
	}
	return all
}

func backwards(ids []string) string {
	var all []string
	for _, e := range entries(ids) {
		all = append([]string{e}, all...)
	}
	return `{"value":[` + strings.Join(all, ",") + `]}`
}

func idLast(ids []string) string {
	s := good(ids)
	for _, id := range ids {
		s = strings.Replace(s, fmt.Sprintf(`{"itemId":%q,"changeKey":"k",`, id), "{", 1)
		s = strings.Replace(s, base64.StdEncoding.EncodeToString([]byte("<"+id+">"))+`"}`,
			base64.StdEncoding.EncodeToString([]byte("<"+id+">"))+fmt.Sprintf(`","itemId":%q}`, id), 1)
	}
	return s
}

func fails(id, code string, otherwise func([]string) string) func([]string) string {
	return func(ids []string) string {
		var all []string
		for _, e := range ids {
			if e == id {
				all = append(all, fmt.Sprintf(`{"itemId":%q,"error":{"code":%q,"message":"secret %s"}}`, id, code, address))
			} else {
				all = append(all, strings.TrimSuffix(strings.TrimPrefix(otherwise([]string{e}), `{"value":[`), `]}`))
			}
		}
		return `{"value":[` + strings.Join(all, ",") + `]}`
	}
}

func whole(status, code string) func([]string) string {
	return func([]string) string { return status + " " + code }
}

func TestExport(t *testing.T) {
	t.Parallel()
	poison := func(ids []string) string {
		for _, id := range ids {
			if id == "b" {
				return "500 ErrorCorruptData"
			}
		}
		return good(ids)
	}
	cut := func(ids []string) string {
		s := good(ids)
		return s[:strings.LastIndex(s, `{"itemId"`)] + "…"
	}
	tests := []struct {
		name  string
		ids   string
		turns []func([]string) string
		want  string
		asked string
		err   error
	}{
		{name: "in order", ids: "a b c", turns: fs(good), want: "a=<a> b=<b> c=<c>", asked: "a,b,c"},
		{name: "backwards", ids: "a b c", turns: fs(backwards), want: "a=<a> b=<b> c=<c>", asked: "a,b,c"},
		{name: "ids behind data", ids: "a b c", turns: fs(idLast), want: "a=<a> b=<b> c=<c>", asked: "a,b,c"},
		{name: "one with its id behind", ids: "a", turns: fs(idLast), want: "a=<a>", asked: "a"},
		{name: "an id twice", ids: "a b a", turns: fs(good), want: "a=<a> b=<b> a=<a>", asked: "a,b a"},
		{name: "one gone", ids: "a b c", turns: fs(fails("b", "ErrorItemNotFound", good)),
			want: "a=<a> b!gone before copy: ErrorItemNotFound c=<c>", asked: "a,b,c"},
		{name: "one corrupt", ids: "a b", turns: fs(fails("a", "ErrorCorruptData", good)),
			want: "a!corrupt at source: ErrorCorruptData b=<b>", asked: "a,b"},
		{name: "one busy", ids: "a b c", turns: fs(fails("b", "ErrorServerBusy", good), good), want: "a=<a> b=<b> c=<c>", asked: "a,b,c b,c"},
		{name: "one that spoils the request", ids: "a b c", turns: fs(poison),
			want: "a=<a> b!corrupt at source: status 500, ErrorCorruptData c=<c>", asked: "a,b,c a b c"},
		{name: "one left out", ids: "a b", turns: fs(func([]string) string { return good([]string{"b", "z"}) }),
			want: "a!corrupt at source: status 200, NotInTheAnswer b=<b>", asked: "a,b a"},
		{name: "all left out", ids: "a b", turns: fs(func([]string) string { return `{"value":[]}` }),
			want: "a!corrupt at source: status 200, NotInTheAnswer b!corrupt at source: status 200, NotInTheAnswer", asked: "a,b a b"},
		{name: "bad base64", ids: "a", turns: fs(func([]string) string { return `{"value":[{"itemId":"a","data":"*&^%"}]}` }),
			want: "a?corrupt at source: malformed base64 in the export", asked: "a", err: errAny},
		{name: "cut, then good", ids: "a b c", turns: fs(cut, good), want: "a=<a> b=<b> c=<c>", asked: "a,b,c c"},
		{name: "another item", ids: "a", turns: fs(func([]string) string { return `{"value":[{"data":"","itemId":"z"}]}` }),
			want: "a=", asked: "a", err: errAny},
		{name: "down", ids: "a b", turns: fs(whole("503", "ServiceUnavailable")), asked: "a,b a,b a,b a,b", err: mailbox.ErrUnavailable},
		{name: "mailbox gone", ids: "a b", turns: fs(whole("404", "ResourceNotFound")), asked: "a,b", err: mailbox.ErrNoMailbox},
		{name: "request refused", ids: "a b", turns: fs(whole("400", "BadRequest")), asked: "a,b", err: errAny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, e := newCanned(t), &exporter{turns: tt.turns}
			c.on("POST "+prefix+"/exportItems", e.handler)
			var ids []mailbox.ItemID
			for _, id := range strings.Fields(tt.ids) {
				ids = append(ids, mailbox.ItemID(id))
			}
			got, err := export1(t, open(t, c.URL, graph.Options{Clock: newHasty()}), ids...)
			silent(t, err)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if (err == nil) != (tt.err == nil) || tt.err != errAny && only(err) != tt.err {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if e.said() != tt.asked {
				t.Errorf("asked for %s, want %s", e.said(), tt.asked)
			}
		})
	}
}

func fs(f ...func([]string) string) []func([]string) string { return f }

func TestExportPacksBySize(t *testing.T) {
	t.Parallel()
	c, e := newCanned(t), &exporter{turns: fs(good)}
	c.on("POST "+prefix+"/exportItems", e.handler)
	c.on("GET "+prefix+"/folders/F/items", answer(200, `{"value":[{"id":"big","size":90000000},{"id":"half","size":12000000},{"id":"half2","size":12000000}]}`))
	m := open(t, c.URL, graph.Options{})
	for range m.Items(t.Context(), "F") {
	}
	ids := []mailbox.ItemID{"s1", "big", "s2", "half", "half2"}
	for i := range 25 {
		ids = append(ids, mailbox.ItemID(fmt.Sprintf("n%d", i)))
	}
	if _, err := export1(t, m, ids...); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, asked := range e.asked {
		sizes = append(sizes, len(asked))
	}
	if fmt.Sprint(sizes) != "[1 1 2 20 6]" {
		t.Errorf("requests of %v ids: %s", sizes, e.said())
	}
}

func TestExportStopsWithEach(t *testing.T) {
	t.Parallel()
	c, e := newCanned(t), &exporter{turns: fs(good)}
	c.on("POST "+prefix+"/exportItems", e.handler)
	enough := errors.New("enough")
	calls := 0
	err := open(t, c.URL, graph.Options{}).Export(t.Context(), []mailbox.ItemID{"a", "b"}, func(int, io.Reader, error) error {
		calls++
		return enough
	})
	if err != enough || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

func TestExportSkipsWhatIsLeftUnread(t *testing.T) {
	t.Parallel()
	c, e := newCanned(t), &exporter{turns: fs(good)}
	c.on("POST "+prefix+"/exportItems", e.handler)
	var got []byte
	err := open(t, c.URL, graph.Options{}).Export(t.Context(), []mailbox.ItemID{"a", "b"}, func(i int, r io.Reader, _ error) error {
		if i == 1 {
			got, _ = io.ReadAll(r)
		}
		return nil
	})
	if err != nil || string(got) != "<b>" {
		t.Errorf("got %q, error %v", got, err)
	}
}

// TestExportBrokenWhileRead tells a lost connection from a bad item, also when each keeps it to itself.
func TestExportBrokenWhileRead(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	cut := func(w http.ResponseWriter, r *http.Request) {
		answer(200, `{"value":[{"itemId":"a","data":"aGVsbG8h`)(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for _, swallow := range []bool{false, true} {
		c.on("POST "+prefix+"/exportItems", inTurn(cut, answer(200, good([]string{"b"}))))
		calls := 0
		err := open(t, c.URL, graph.Options{}).Export(t.Context(), []mailbox.ItemID{"a", "b"}, func(_ int, r io.Reader, _ error) error {
			calls++
			if _, err := io.Copy(io.Discard, r); !swallow {
				return err
			}
			return nil
		})
		if only(err) != mailbox.ErrUnavailable || calls != 1 {
			t.Errorf("swallow %v: error %v after %d calls", swallow, err, calls)
		}
		silent(t, err)
	}
}

// TestExportMemory exports 100 MB, in the expected order and behind a small item that comes late.
func TestExportMemory(t *testing.T) {
	const size = 100 << 20
	c := newCanned(t)
	big := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, `{"itemId":"big","data":"`)
		encoded := []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("abc"), 1<<14)))
		for range size / (3 << 14) {
			_, _ = w.Write(encoded)
		}
		_, _ = io.WriteString(w, `"}`)
	}
	c.on("POST "+prefix+"/exportItems", func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"value":[`)
		big(w)
		if bytes.Contains(asked, []byte("small")) {
			_, _ = io.WriteString(w, `,{"itemId":"small","data":"aGk="}`)
		}
		_, _ = io.WriteString(w, `]}`)
	})
	m := open(t, c.URL, graph.Options{})
	for _, ids := range [][]mailbox.ItemID{{"big"}, {"small", "big"}} {
		peak, stop := watchHeap()
		var sum int64
		err := m.Export(t.Context(), ids, func(_ int, r io.Reader, err error) error {
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, r)
			sum += n
			return err
		})
		stop()
		if err != nil || sum < size-3<<14 || sum > size+2 {
			t.Fatalf("%v: %d bytes, error %v", ids, sum, err)
		}
		t.Logf("%v: heap grew by at most %d KiB", ids, *peak>>10)
		if *peak > 40<<20 {
			t.Errorf("%v: heap grew by %d bytes", ids, *peak)
		}
	}
}
