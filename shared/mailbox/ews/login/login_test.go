package login_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ntlmssp "github.com/Azure/go-ntlmssp"

	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/ews/login"
)

var svc = login.Account{User: "svc", Password: "secret", Domain: "CORP"}

func post(t *testing.T, rt http.RoundTripper, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("<hello/>"))
	if err != nil {
		t.Fatal(err)
	}
	return rt.RoundTrip(req)
}

// counted counts the connections that a server accepts.
func counted(s *httptest.Server) *atomic.Int32 {
	var n atomic.Int32
	s.Config.ConnState = func(_ net.Conn, c http.ConnState) {
		if c == http.StateNew {
			n.Add(1)
		}
	}
	return &n
}

func TestBasic(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", user, password, b, r.Proto)
	}))
	connections := counted(s)
	s.Start()
	t.Cleanup(s.Close)
	lanes := &login.Lanes{Account: svc, Scheme: login.Basic}
	for range 3 {
		resp, err := post(t, lanes, s.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != `CORP\svc secret <hello/> HTTP/1.1` {
			t.Fatalf("server saw %q", b)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("three requests in turn took %d connections", n)
	}
}

// wire is a TCP relay that sees the requests go by and may cut.
type wire struct {
	net.Listener
	to          string
	cut         func(request int) bool // asked at the beginning of each request, from 1
	connections atomic.Int32
	requests    atomic.Int32
}

func newWire(t *testing.T, url string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: strings.Split(url, "/")[2], cut: func(int) bool { return false }}
	t.Cleanup(func() { l.Close() })
	go w.relay()
	return w
}

func (w *wire) relay() {
	for {
		from, err := w.Accept()
		if err != nil {
			return
		}
		w.connections.Add(1)
		to, err := net.Dial("tcp", w.to)
		if err != nil {
			from.Close()
			return
		}
		go func() { io.Copy(from, to); from.Close() }()
		go func() { io.Copy(to, io.TeeReader(from, watch{w, from})); to.Close() }()
	}
}

// watch sees each small request in one piece.
type watch struct {
	w    *wire
	from net.Conn
}

func (c watch) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("POST ")) && c.w.cut(int(c.w.requests.Add(1))) {
		c.from.Close()
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func (w *wire) url() string { return "http://" + w.Addr().String() + "/EWS/Exchange.asmx" }

func site(t *testing.T) *wire {
	t.Helper()
	s := ewstest.New(t, ewstest.Options{Auth: []ewstest.Scheme{ewstest.NTLM}})
	s.AddAccount("svc", "secret", "CORP")
	return newWire(t, s.URL())
}

// A sign-in by NTLM takes three requests on one connection, and counts for all that follow on it.
func TestNTLMKeepsItsConnection(t *testing.T) {
	t.Parallel()
	w := site(t)
	lanes := &login.Lanes{Account: svc, Scheme: login.NTLM}
	for range 5 {
		resp, err := post(t, lanes, w.url())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			t.Fatal("sign-in refused")
		}
	}
	if w.requests.Load() != 7 || w.connections.Load() != 1 {
		t.Errorf("five requests took %d, on %d connections; want 7 on one", w.requests.Load(), w.connections.Load())
	}
}

// fussy is a server that signs in by NTLM as IIS does, with a page in each 401, and minds that each step of a sign-in
// comes on the connection of the step before. It closes each connection after its first answer.
type fussy struct {
	challenge string
	mu        sync.Mutex
	pending   map[string]bool // by connection
	mixed     int
}

func (f *fussy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	token, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "NTLM "))
	offer, peer := "NTLM", r.RemoteAddr
	switch {
	case len(token) > 8 && token[8] == 3:
		if f.pending[peer] {
			w.Header().Set("Connection", "close")
			return
		}
		f.mixed++
	case len(token) > 8:
		f.pending[peer] = true
		offer = f.challenge
	case f.pending[peer]:
		f.mixed++
	}
	w.Header().Set("WWW-Authenticate", offer)
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, strings.Repeat("<p>401</p>", 130))
}

func TestSignInsDoNotMix(t *testing.T) {
	t.Parallel()
	f := &fussy{challenge: challenge(t), pending: map[string]bool{}}
	s := httptest.NewUnstartedServer(f)
	connections := counted(s)
	s.Start()
	t.Cleanup(s.Close)
	lanes := &login.Lanes{Account: svc, Scheme: login.NTLM}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				resp, err := post(t, lanes, s.URL)
				if err != nil {
					t.Error(err)
					return
				}
				if resp.Body.Close(); resp.StatusCode != http.StatusOK {
					t.Error("sign-in refused")
					return
				}
			}
		})
	}
	wg.Wait()
	if f.mixed > 0 {
		t.Errorf("%d steps came on the wrong connection", f.mixed)
	}
	if n := connections.Load(); n != 8*25 {
		t.Errorf("%d sign-ins took %d connections", 8*25, n)
	}
}

// challenge is what the simulator answers the first step of a sign-in with.
func challenge(t *testing.T) string {
	t.Helper()
	s := ewstest.New(t, ewstest.Options{Auth: []ewstest.Scheme{ewstest.NTLM}})
	hello, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), nil)
	req.Header.Set("Authorization", "NTLM "+base64.StdEncoding.EncodeToString(hello))
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("WWW-Authenticate")
}

func TestRequestsAtOnceHaveTheirOwnConnections(t *testing.T) {
	t.Parallel()
	w := site(t)
	lanes := &login.Lanes{Account: svc, Scheme: login.NTLM}
	for range 3 {
		var open []*http.Response
		for range 4 {
			resp, err := post(t, lanes, w.url())
			if err != nil || resp.StatusCode == http.StatusUnauthorized {
				t.Fatalf("got %v, %v", resp, err)
			}
			open = append(open, resp)
		}
		for _, resp := range open {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	if n := w.connections.Load(); n != 4 {
		t.Errorf("four requests at a time took %d connections", n)
	}
}

func TestWrongPasswordIsA401(t *testing.T) {
	t.Parallel()
	w := site(t)
	resp, err := post(t, &login.Lanes{Account: login.Account{User: "svc", Password: "wrong"}, Scheme: login.NTLM}, w.url())
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	if w.requests.Load() != 3 {
		t.Errorf("%d requests for one refused sign-in: that locks accounts", w.requests.Load())
	}
}

// A connection that is lost while signing in must not look like a wrong password.
func TestLostConnectionIsNoRefusal(t *testing.T) {
	t.Parallel()
	for _, from := range []int{2, 3} { // negotiate, authenticate
		w := site(t)
		w.cut = func(n int) bool { return n >= from }
		if resp, err := post(t, &login.Lanes{Account: svc, Scheme: login.NTLM}, w.url()); err == nil {
			t.Errorf("lost from request %d on: got status %d", from, resp.StatusCode)
		}
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		offered []string
		scheme  login.Scheme
		want    string
	}{
		{"wrong password by NTLM", []string{"Negotiate", "NTLM"}, login.NTLM, "user name or password refused"},
		{"wrong password by Basic", []string{`Basic realm="x"`}, login.Basic, "user name or password refused"},
		{"nothing offered", nil, login.NTLM, "user name or password refused"},
		{"no NTLM", []string{`Basic realm="x"`}, login.NTLM, "does not offer sign-in by ntlm"},
		{"no Basic", []string{"negotiate", "ntlm"}, login.Basic, "does not offer sign-in by basic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := login.Refusal(http.Header{"Www-Authenticate": test.offered}, test.scheme); !strings.Contains(got, test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
	}
}
