// Package login signs requests in to an on-premises Exchange as a service account, by NTLM or Basic.
//
// NTLM signs in a TCP connection, in three requests that all have to travel on it. A shared connection pool may give
// the connection to someone else in between, so each request here has a lane for itself until its answer is closed:
// a transport with one connection, which stays signed in for the next request on the lane.
package login

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	ntlmssp "github.com/Azure/go-ntlmssp"

	"github.com/mailferry/mailferry/shared/pace"
)

// Scheme is how to sign in.
type Scheme string

const (
	NTLM  Scheme = "ntlm"
	Basic Scheme = "basic"
)

// Secret is a password. It prints as ***.
type Secret string

func (Secret) String() string               { return "***" }
func (Secret) GoString() string             { return "***" }
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Account is a service account.
type Account struct {
	User     string // "svc", or "svc@corp.test" without Domain
	Password Secret
	Domain   string // optional NetBIOS or DNS domain
}

// Lanes is a RoundTripper that signs its requests in; a refused sign-in is an answer of 401, see [Refusal]. It is safe for concurrent use, and opens as many connections as
// requests are under way. Connections are closed after a minute and a half without use.
type Lanes struct {
	Account Account
	Scheme  Scheme
	TLS     *tls.Config // nil means the system's certificates

	mu   sync.Mutex
	free []*lane // the last one used first, so that idle connections are left to expire
}

// RoundTrip sends the request on a free lane, which is taken until the answer's body is closed.
func (l *Lanes) RoundTrip(req *http.Request) (*http.Response, error) {
	lane := l.take()
	give := sync.OnceFunc(func() { l.give(lane) })
	resp, err := lane.RoundTrip(l.signed(req))
	if err != nil {
		give()
		return nil, err
	}
	resp.Body = pace.OnClose(resp.Body, give)
	return resp, nil
}

// signed returns the request with user and password, which the negotiator takes out again before anything is sent.
func (l *Lanes) signed(req *http.Request) *http.Request {
	user := l.Account.User
	if l.Account.Domain != "" {
		user = l.Account.Domain + `\` + user
	}
	req = req.Clone(req.Context())
	req.SetBasicAuth(user, string(l.Account.Password))
	return req
}

func (l *Lanes) take() *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		lane := l.free[n-1]
		l.free = l.free[:n-1]
		return lane
	}
	return newLane(l.Scheme, l.TLS)
}

func (l *Lanes) give(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, lane)
}

// Refusal says in words what a 401 of [Lanes] means: a wrong password, or a server that does not offer the scheme.
func Refusal(h http.Header, scheme Scheme) string {
	offered := map[Scheme]bool{}
	for _, v := range h.Values("WWW-Authenticate") {
		switch firstWord(v) {
		case "ntlm", "negotiate":
			offered[NTLM] = true
		case "basic":
			offered[Basic] = true
		}
	}
	if len(offered) > 0 && !offered[scheme] {
		return fmt.Sprintf("the server does not offer sign-in by %s", scheme)
	}
	return "user name or password refused for the service account"
}

// transport has HTTP/1.1 only, because NTLM is bound to a connection, which HTTP/2 shares.
func transport(t *tls.Config) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dialer := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Protocols:           &protocols,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     t,
		TLSHandshakeTimeout: 15 * time.Second,
		// Exchange cuts a batch at one minute of its own time (sources.md 1.7).
		ResponseHeaderTimeout: 3 * time.Minute,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   1,
	}
}

// negotiator is what signs in on one connection.
func negotiator(scheme Scheme, wire http.RoundTripper) http.RoundTripper {
	if scheme == Basic {
		return wire
	}
	return ntlmssp.Negotiator{RoundTripper: wire}
}
