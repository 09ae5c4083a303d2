package graph_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
)

const (
	address   = "megan@contoso.com"
	mailboxID = "MBX:e0643f21@a7809c93"
	prefix    = "/v1.0/admin/exchange/mailboxes/" + mailboxID
	token     = "graph-token-5b0c"
	importKey = "import-token-77e1"
)

// canned answers as the service is published to, one handler per path; a path nobody told it is a test error.
type canned struct {
	*httptest.Server
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc // "METHOD path"
	calls    []string
}

func newCanned(t *testing.T) *canned {
	t.Helper()
	c := &canned{handlers: map[string]http.HandlerFunc{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Method + " " + r.URL.Path
		c.mu.Lock()
		c.calls = append(c.calls, key)
		h := c.handlers[key]
		c.mu.Unlock()
		if h == nil {
			t.Errorf("unexpected request %s", key)
			http.Error(w, "", http.StatusTeapot)
			return
		}
		signed := r.Header.Get("Authorization")
		if isImport := r.URL.Path == "/import"; isImport && signed != "" || !isImport && signed != "Bearer "+token {
			t.Errorf("%s came with Authorization %q", key, signed)
		}
		h(w, r)
	}))
	t.Cleanup(c.Close)
	c.on("GET /v1.0/users/"+address+"/settings/exchange", answer(200, `{"primaryMailboxId":"`+mailboxID+`"}`))
	return c
}

func (c *canned) on(key string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[key] = h
}

func (c *canned) count(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.calls {
		if k == key {
			n++
		}
	}
	return n
}

// sessions makes import sessions that last until end.
func (c *canned) sessions(end time.Time) {
	c.on("POST "+prefix+"/createImportSession", func(w http.ResponseWriter, r *http.Request) {
		answer(200, fmt.Sprintf(`{"importUrl":"%s/import?authtoken=%s","expirationDateTime":"%s"}`,
			c.URL, importKey, end.UTC().Format("2006-01-02T15:04:05.0000000Z")))(w, r)
	})
}

// answer is a JSON answer with pairs of header name and value.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// inTurn answers with one handler after the other; the last one stays.
func inTurn(hs ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := hs[0]
		if len(hs) > 1 {
			hs = hs[1:]
		}
		mu.Unlock()
		h(w, r)
	}
}

// hangUp ends the connection without an answer, after the request has been read.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func errorBody(code string) string {
	return fmt.Sprintf(`{"error":{"code":%q,"message":"for %s at %s"}}`, code, address, importKey)
}

type credential struct{}

func (credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: token, ExpiresOn: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
}

// hasty is a clock on which every wait is over at once and its time has passed.
type hasty struct {
	*clockwork.FakeClock
	mu     sync.Mutex
	waited []time.Duration
}

func newHasty() *hasty {
	return &hasty{FakeClock: clockwork.NewFakeClockAt(time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC))}
}

func (h *hasty) NewTimer(d time.Duration) clockwork.Timer {
	h.mu.Lock()
	h.waited = append(h.waited, d)
	h.mu.Unlock()
	timer := h.FakeClock.NewTimer(d)
	h.Advance(d)
	return timer
}

func (h *hasty) total() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sum time.Duration
	for _, d := range h.waited {
		sum += d
	}
	return sum
}

func newClient(t *testing.T, url string, o graph.Options) *graph.Client {
	t.Helper()
	o.BaseURL, o.Credential = url+"/v1.0", credential{}
	client, err := graph.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func open(t *testing.T, url string, o graph.Options) *graph.Mailbox {
	t.Helper()
	m, err := newClient(t, url, o).Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func streamOf(b string) mailbox.Stream {
	return mailbox.Stream{Size: int64(len(b)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(b)), nil
	}}
}

// silent fails the test when the error tells what no error may tell.
func silent(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{address, "megan", importKey, token, "authtoken", "MBX:", "/import", "http://"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error tells %q: %v", secret, err)
		}
	}
}
