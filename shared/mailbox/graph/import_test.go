package graph_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
)

type imported struct {
	FolderID, Mode, ItemID, ChangeKey, Data string
}

func TestImportSendsWhatIsPublished(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 3, 100, 48<<10 - 1, 48 << 10, 48<<10 + 1, 300_000} {
		c, clock := newCanned(t), newHasty()
		c.sessions(clock.Now().Add(time.Hour))
		want := bytes.Repeat([]byte("0123456789ABCDE"), size/15+1)[:size]
		c.on("POST /import", func(w http.ResponseWriter, r *http.Request) {
			raw, err := io.ReadAll(r.Body)
			if err != nil || int64(len(raw)) != r.ContentLength || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("size %d: read %d of %d bytes, %v", size, len(raw), r.ContentLength, err)
			}
			var got imported
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Errorf("size %d: %v", size, err)
			}
			data, err := base64.StdEncoding.DecodeString(got.Data)
			if err != nil || !bytes.Equal(data, want) || got.FolderID != `f"1=` || got.Mode != "create" {
				t.Errorf("size %d: got %d bytes for %q, mode %q, %v", size, len(data), got.FolderID, got.Mode, err)
			}
			if bytes.Contains(raw, []byte("ItemId")) || bytes.Contains(raw, []byte("ChangeKey")) {
				t.Errorf("size %d: a create with an item's id", size)
			}
			answer(201, `{"itemId":"new","changeKey":"k"}`)(w, r)
		})
		id, err := open(t, c.URL, graph.Options{Clock: clock}).Import(t.Context(), `f"1=`, streamOf(string(want)))
		if err != nil || id != "new" {
			t.Errorf("size %d: id %q, error %v", size, id, err)
		}
	}
}

func TestReplaceSendsTheChangeKey(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.sessions(clock.Now().Add(time.Hour))
	c.on("POST /import", func(w http.ResponseWriter, r *http.Request) {
		var got imported
		_ = json.NewDecoder(r.Body).Decode(&got)
		if want := (imported{"f", "update", "old", "key", "eHl6"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		answer(200, `{"itemId":"old","changeKey":"k2"}`)(w, r)
	})
	m := open(t, c.URL, graph.Options{Clock: clock})
	id, err := m.Replace(t.Context(), "f", mailbox.Item{ID: "old", Change: "key"}, streamOf("xyz"))
	if err != nil || id != "old" {
		t.Errorf("id %q, error %v", id, err)
	}
	if _, err := m.Replace(t.Context(), "f", mailbox.Item{ID: "old"}, streamOf("xyz")); err == nil {
		t.Error("no error without a change key")
	}
}

func TestImportOutcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		answer  http.HandlerFunc
		replace bool
		want    error          // by errors.Is
		reason  mailbox.Reason // of an ItemError
		until   time.Duration  // of a Throttled
		posts   int
	}{
		{name: "accepted", answer: answer(200, `{"itemId":"i"}`), posts: 1},
		{name: "accepted without an id", answer: answer(200, `{}`), want: mailbox.ErrUnknown, posts: 1},
		{name: "accepted, answer cut", answer: answer(200, `{"itemId":"`), want: mailbox.ErrUnknown, posts: 1},
		{name: "refused", answer: answer(400, errorBody("ErrorSomething")), reason: mailbox.Refused, posts: 1},
		{name: "invalid recipients", answer: answer(400, errorBody("ErrorInvalidRecipients")), reason: mailbox.Refused, posts: 1},
		{name: "corrupt at 500", answer: answer(500, errorBody("ErrorCorruptData")), reason: mailbox.Corrupt, posts: 1},
		{name: "too large", answer: answer(413, ``), reason: mailbox.TooBig, posts: 1},
		{name: "size by code", answer: answer(400, errorBody("ErrorMessageSizeExceeded")), reason: mailbox.TooBig, posts: 1},
		{name: "folder gone", answer: answer(404, errorBody("ErrorFolderNotFound")), want: mailbox.ErrNoFolder, posts: 1},
		{name: "folder id malformed", answer: answer(400, errorBody("ErrorInvalidIdMalformed")), want: mailbox.ErrNoFolder, posts: 1},
		{name: "full", answer: answer(507, ``), want: mailbox.ErrQuota, posts: 1},
		{name: "full by code", answer: answer(403, errorBody("ErrorQuotaExceeded")), want: mailbox.ErrQuota, posts: 1},
		{name: "forbidden", answer: answer(403, errorBody("ErrorAccessDenied")), want: mailbox.ErrAccess, posts: 1},
		{name: "session refused twice", answer: answer(401, ``), want: mailbox.ErrAccess, posts: 2},
		{name: "500", answer: answer(500, errorBody("InternalServerError")), want: mailbox.ErrUnknown, posts: 1},
		{name: "502 html", answer: answer(502, `<html>`), want: mailbox.ErrUnknown, posts: 1},
		{name: "503 empty", answer: answer(503, ``), want: mailbox.ErrUnknown, posts: 1},
		{name: "503 with Retry-After", answer: answer(503, ``, "Retry-After", "1"), want: mailbox.ErrUnknown, posts: 1},
		{name: "504", answer: answer(504, ``), want: mailbox.ErrUnknown, posts: 1},
		{name: "hung up", answer: hangUp, want: mailbox.ErrUnknown, posts: 1},
		{name: "throttled shortly", answer: inTurn(answer(429, errorBody("TooManyRequests"), "Retry-After", "2.128"),
			answer(200, `{"itemId":"i"}`)), posts: 2},
		{name: "throttled without Retry-After", answer: inTurn(answer(429, ``), answer(429, ``), answer(200, `{"itemId":"i"}`)), posts: 3},
		{name: "throttled long", answer: answer(429, ``, "Retry-After", "120.5"), until: 120500 * time.Millisecond, posts: 1},
		{name: "conflict", answer: answer(409, errorBody("ErrorIrresolvableConflict")), want: mailbox.ErrUnavailable, posts: 1},
		{name: "redirected", answer: answer(307, ``, "Location", "/elsewhere"), posts: 1, want: errAny},
		{name: "replace, stale", replace: true, answer: answer(409, errorBody("ErrorIrresolvableConflict")), want: mailbox.ErrChanged, posts: 1},
		{name: "replace, stale by status", replace: true, answer: answer(412, ``), want: mailbox.ErrChanged, posts: 1},
		{name: "replace, gone", replace: true, answer: answer(404, errorBody("ErrorItemNotFound")), want: mailbox.ErrChanged, posts: 1},
		{name: "replace, stale key", replace: true, answer: answer(400, errorBody("ErrorInvalidChangeKey")), want: mailbox.ErrChanged, posts: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, clock := newCanned(t), newHasty()
			c.sessions(clock.Now().Add(time.Hour))
			c.on("POST /import", tt.answer)
			m := open(t, c.URL, graph.Options{Clock: clock})
			start := clock.Now()
			var err error
			if tt.replace {
				_, err = m.Replace(t.Context(), "f", mailbox.Item{ID: "i", Change: "k"}, streamOf("item"))
			} else {
				_, err = m.Import(t.Context(), "f", streamOf("item"))
			}
			silent(t, err)
			var item *mailbox.ItemError
			var throttled *mailbox.Throttled
			switch {
			case tt.until > 0:
				if !errors.As(err, &throttled) || throttled.Until.Sub(start) != tt.until || throttled.By != "graph mailbox" {
					t.Errorf("error %#v, want Throttled for %v", err, tt.until)
				}
			case tt.reason != "":
				if !errors.As(err, &item) || item.Reason != tt.reason {
					t.Errorf("error %v, want ItemError %q", err, tt.reason)
				}
			case tt.want == errAny:
				if err == nil || only(err) != nil {
					t.Errorf("error %v, want one without a word of package mailbox", err)
				}
			case only(err) != tt.want || (err == nil) != (tt.want == nil):
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if n := c.count("POST /import"); n != tt.posts {
				t.Errorf("%d posts, want %d", n, tt.posts)
			}
		})
	}
}

var errAny = errors.New("any")

// only is the word of package mailbox that err is, nil for none.
func only(err error) error {
	for _, w := range []error{mailbox.ErrNoMailbox, mailbox.ErrAccess, mailbox.ErrNoFolder, mailbox.ErrFolderName,
		mailbox.ErrQuota, mailbox.ErrUnknown, mailbox.ErrUnavailable, mailbox.ErrChanged} {
		if errors.Is(err, w) {
			return w
		}
	}
	return nil
}

func TestImportDialErrorIsUnavailable(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.on("POST "+prefix+"/createImportSession", answer(200,
		`{"importUrl":"http://127.0.0.1:1/import?authtoken=`+importKey+`","expirationDateTime":"2026-11-20T09:00:00Z"}`))
	_, err := open(t, c.URL, graph.Options{Clock: clock}).Import(t.Context(), "f", streamOf("item"))
	if only(err) != mailbox.ErrUnavailable {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	silent(t, err)
}

func TestImportOfBrokenStreamsIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	sour := errors.New("source broke")
	tests := []struct {
		name string
		open func() (io.Reader, error)
		want string
	}{
		{"shorter", func() (io.Reader, error) { return strings.NewReader("123456789"), nil }, "9 bytes, not the 10"},
		{"longer", func() (io.Reader, error) { return strings.NewReader("12345678901"), nil }, "more than the 10 bytes"},
		{"breaks", func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(sour)), nil
		}, "source broke"},
		{"breaks at its end", func() (io.Reader, error) {
			return io.MultiReader(strings.NewReader("1234567890"), iotest.ErrReader(sour)), nil
		}, "source broke"},
		{"does not open", func() (io.Reader, error) { return nil, sour }, "open stream: source broke"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, clock := newCanned(t), newHasty()
			c.sessions(clock.Now().Add(time.Hour))
			c.on("POST /import", func(w http.ResponseWriter, r *http.Request) {
				if b, err := io.ReadAll(r.Body); err == nil && json.Valid(b) {
					t.Errorf("a whole request arrived: %s", b)
				}
				panic(http.ErrAbortHandler)
			})
			s := mailbox.Stream{Size: 10, Open: func(context.Context) (io.ReadCloser, error) {
				r, err := tt.open()
				if err != nil {
					return nil, err
				}
				return io.NopCloser(r), nil
			}}
			_, err := open(t, c.URL, graph.Options{Clock: clock}).Import(t.Context(), "f", s)
			if err == nil || !strings.Contains(err.Error(), tt.want) || only(err) != nil {
				t.Errorf("error %v, want %q and no word of package mailbox", err, tt.want)
			}
			silent(t, err)
		})
	}
}

func TestImportBrokenOffByItsCaller(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.sessions(clock.Now().Add(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	c.on("POST /import", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	m := open(t, c.URL, graph.Options{Clock: clock})
	if _, err := m.Import(ctx, "f", streamOf("item")); only(err) != mailbox.ErrUnknown || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end was sent: error %v, want ErrUnknown and Canceled", err)
	}
	if _, err := m.Import(ctx, "f", streamOf("item")); only(err) != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("before anything was sent: error %v, want Canceled alone", err)
	}
}

func TestImportThatStandsStillIsBrokenOff(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.sessions(clock.Now().Add(time.Hour))
	c.on("POST /import", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		clock.Advance(4 * time.Minute)
		<-r.Context().Done()
	})
	_, err := open(t, c.URL, graph.Options{Clock: clock}).Import(t.Context(), "f", streamOf("item"))
	if only(err) != mailbox.ErrUnknown || !strings.Contains(err.Error(), "nothing moved") {
		t.Errorf("error %v, want ErrUnknown for a stall", err)
	}
}

func TestSessionIsSharedAndRenewed(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	end := clock.Now().Add(time.Hour)
	c.sessions(end)
	c.on("POST /import", answer(200, `{"itemId":"i"}`))
	m := open(t, c.URL, graph.Options{Clock: clock})
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := m.Import(t.Context(), "f", streamOf("item")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.count("POST " + prefix + "/createImportSession"); n != 1 {
		t.Errorf("%d sessions for 12 imports at once, want 1", n)
	}
	clock.Advance(59*time.Minute + time.Second) // within the margin before its end
	c.sessions(end.Add(time.Hour))
	if _, err := m.Import(t.Context(), "f", streamOf("item")); err != nil {
		t.Error(err)
	}
	if n := c.count("POST " + prefix + "/createImportSession"); n != 2 {
		t.Errorf("%d sessions after the first one's end, want 2", n)
	}
	c.on("POST /import", inTurn(answer(401, ``), answer(200, `{"itemId":"i"}`)))
	if _, err := m.Import(t.Context(), "f", streamOf("item")); err != nil {
		t.Error(err)
	}
	if n := c.count("POST " + prefix + "/createImportSession"); n != 3 {
		t.Errorf("%d sessions after a 401, want 3", n)
	}
}

func TestSessionFailureNamesThePermission(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	c.on("POST "+prefix+"/createImportSession", answer(403, errorBody("ErrorAccessDenied")))
	_, err := open(t, c.URL, graph.Options{Clock: newHasty()}).Import(t.Context(), "f", streamOf("item"))
	if only(err) != mailbox.ErrAccess || !strings.Contains(err.Error(), "MailboxItem.ImportExport.All") {
		t.Errorf("error %v, want ErrAccess with the permission", err)
	}
	silent(t, err)
}

func TestImportKeepsCookies(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.sessions(clock.Now().Add(time.Hour))
	c.on("POST /import", inTurn(answer(200, `{"itemId":"1"}`, "Set-Cookie", "affinity=7; Path=/"),
		func(w http.ResponseWriter, r *http.Request) {
			if k, err := r.Cookie("affinity"); err != nil || k.Value != "7" {
				t.Errorf("second import without the cookie: %v", r.Header)
			}
			answer(200, `{"itemId":"2"}`)(w, r)
		}))
	m := open(t, c.URL, graph.Options{Clock: clock})
	for range 2 {
		if _, err := m.Import(t.Context(), "f", streamOf("item")); err != nil {
			t.Error(err)
		}
	}
}

// TestImportMemory imports 100 MB and measures what the heap grew by at its highest.
func TestImportMemory(t *testing.T) {
	const size = 100 << 20
	c, clock := newCanned(t), newHasty()
	c.sessions(clock.Now().Add(time.Hour))
	c.on("POST /import", answer(200, `{"itemId":"i"}`))
	m := open(t, c.URL, graph.Options{Clock: clock})
	peak, stop := watchHeap()
	s := mailbox.Stream{Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(letters{}, size)), nil
	}}
	_, err := m.Import(t.Context(), "f", s)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("heap grew by at most %d KiB", *peak>>10)
	if *peak > 8<<20 {
		t.Errorf("heap grew by %d bytes for an item of %d", *peak, size)
	}
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// watchHeap samples the heap until stop is called.
func watchHeap() (peak *int64, stop func()) {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	peak = new(int64)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				*peak = max(*peak, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			}
		}
	}()
	return peak, func() { close(quit); <-done }
}
