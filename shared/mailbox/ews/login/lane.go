package login

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
)

// maxRefusal bounds the page that comes with a 401; IIS sends about 1.3 KB.
const maxRefusal = 64 << 10

// lane carries one request at a time.
type lane struct {
	signs http.RoundTripper
	wire  *wire
}

func newLane(scheme Scheme, t *tls.Config) *lane {
	w := &wire{next: transport(t)}
	return &lane{signs: negotiator(scheme, w), wire: w}
}

// RoundTrip returns what went wrong on the wire even when the negotiator hides it behind the 401 that it began with:
// a lost connection must not look like a wrong password.
func (l *lane) RoundTrip(req *http.Request) (*http.Response, error) {
	l.wire.lost = nil
	resp, err := l.signs.RoundTrip(req)
	if err == nil && l.wire.lost != nil {
		_ = resp.Body.Close()
		return nil, l.wire.lost
	}
	return resp, err
}

// wire reads each 401 to its end at once, so that its connection is free for the next step of the sign-in: NTLM goes
// on where it began.
type wire struct {
	next http.RoundTripper
	lost error
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		w.lost = err
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	_ = resp.Body.Close()
	if err != nil {
		w.lost = err
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return strings.ToLower(word)
}
