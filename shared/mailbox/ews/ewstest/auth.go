package ewstest

import (
	"bytes"
	"context"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// Scheme is an HTTP authentication scheme.
type Scheme string

// The schemes an on-premises Exchange can offer.
const (
	Negotiate Scheme = "Negotiate" // NTLM inside, bare or in SPNEGO
	NTLM      Scheme = "NTLM"
	Basic     Scheme = "Basic"
)

// Right is what an account may do.
type Right func(*account)

// MayImpersonateAll is the role ApplicationImpersonation over every mailbox.
func MayImpersonateAll() Right { return func(a *account) { a.impersonate = true } }

// MayImpersonate is the role ApplicationImpersonation with a scope of a few mailboxes, by address.
func MayImpersonate(addresses ...string) Right {
	return func(a *account) { addLower(&a.scope, addresses) }
}

// Owns makes the account the owner of a mailbox: what it means when it names none.
func Owns(address string) Right { return func(a *account) { a.mailbox = strings.ToLower(address) } }

// FullAccess lets the account open these mailboxes by naming them, without impersonation.
func FullAccess(addresses ...string) Right {
	return func(a *account) { addLower(&a.access, addresses) }
}

func addLower(m *map[string]bool, addresses []string) {
	if *m == nil {
		*m = map[string]bool{}
	}
	for _, a := range addresses {
		(*m)[strings.ToLower(a)] = true
	}
}

// account is one that can log on.
type account struct {
	user, password, domain string
	impersonate            bool
	scope, access          map[string]bool
	mailbox                string
	budget                 budget
}

func (a *account) mayImpersonate(address string) bool {
	return a.impersonate || a.scope[strings.ToLower(address)]
}

func (a *account) mayOpen(address string) bool {
	address = strings.ToLower(address)
	return a.mailbox == address || a.access[address]
}

// handshake is what the server knows about one TCP connection. NTLM authenticates the connection, not the request.
type handshake struct {
	mu        sync.Mutex
	challenge *ntlmChallenge
	who       *account
}

type handshakeKey struct{}

func withHandshake(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, handshakeKey{}, &handshake{})
}

// authenticate returns who sent the request. When it returns nil it has answered.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) *account {
	h, _ := r.Context().Value(handshakeKey{}).(*handshake)
	if h == nil {
		h = &handshake{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case scheme == "" && h.who != nil:
		return h.who
	case strings.EqualFold(scheme, string(Basic)) && s.offers(Basic):
		if who := s.basic(r); who != nil {
			return who
		}
	case strings.EqualFold(scheme, string(NTLM)) && s.offers(NTLM), strings.EqualFold(scheme, string(Negotiate)) && s.offers(Negotiate):
		who, answer := s.ntlm(h, value)
		if who != nil {
			return who
		}
		if answer != "" {
			w.Header().Set("WWW-Authenticate", canonicalScheme(scheme)+" "+answer)
			unauthorized(w, r)
			return nil
		}
	}
	s.challengeAll(w, r)
	return nil
}

func canonicalScheme(s string) string {
	if strings.EqualFold(s, string(NTLM)) {
		return string(NTLM)
	}
	return string(Negotiate)
}

func (s *Server) offers(want Scheme) bool {
	for _, o := range s.o.Auth {
		if o == want {
			return true
		}
	}
	return false
}

func (s *Server) challengeAll(w http.ResponseWriter, r *http.Request) {
	for _, o := range s.o.Auth {
		v := string(o)
		if o == Basic {
			v += ` realm="` + r.Host + `"`
		}
		w.Header().Add("WWW-Authenticate", v)
	}
	unauthorized(w, r)
}

// unauthorized reads the request to its end first: a connection that is closed now could never be authenticated.
func unauthorized(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 128<<20))
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusUnauthorized)
}

func (s *Server) basic(r *http.Request) *account {
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil
	}
	domain := ""
	if d, u, ok := strings.Cut(user, `\`); ok {
		domain, user = d, u
	}
	if a := s.account(user, domain); a != nil && a.password == password {
		return a
	}
	return nil
}

// ntlm takes one step of the handshake: an account when it is over, a challenge to send, or neither when it failed.
func (s *Server) ntlm(h *handshake, value string) (*account, string) {
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return nil, ""
	}
	message, wrapped := unwrapSPNEGO(token)
	kind, err := ntlmType(message)
	if err != nil {
		return nil, ""
	}
	h.who = nil
	if kind == 1 {
		return nil, s.challenge(h, message, wrapped)
	}
	c := h.challenge
	h.challenge = nil
	if c == nil {
		return nil, ""
	}
	a, err := decodeAuthenticate(message)
	if err != nil {
		return nil, ""
	}
	if who := s.account(a.user, a.domain); who != nil && c.verify(a, who.password) {
		h.who = who
		return who, ""
	}
	return nil, ""
}

func (s *Server) challenge(h *handshake, message []byte, wrapped bool) string {
	n, err := decodeNegotiate(message)
	if err != nil {
		return ""
	}
	h.challenge = newChallenge(n, s.o.Domain, "EX01", s.o.Clock.Now())
	raw := h.challenge.raw
	if wrapped {
		if raw, err = wrapSPNEGO(raw); err != nil {
			return ""
		}
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// unwrapSPNEGO finds the NTLM message in a token that is one or that carries one (RFC 4178).
func unwrapSPNEGO(token []byte) (message []byte, wrapped bool) {
	if bytes.HasPrefix(token, []byte(ntlmSignature)) {
		return token, false
	}
	m, err := spnegoToken(token)
	if err != nil {
		return nil, true
	}
	return m, true
}

// spnegoToken walks NegTokenInit ([APPLICATION 0] { oid, [0] { …, [2] mechToken } }) or NegTokenResp ([1] { …,
// [2] responseToken }).
func spnegoToken(b []byte) ([]byte, error) {
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(b, &outer); err != nil {
		return nil, errors.New("not a SPNEGO token")
	}
	inner := outer.Bytes
	if outer.Class == asn1.ClassApplication {
		var oid asn1.ObjectIdentifier
		rest, err := asn1.Unmarshal(inner, &oid)
		if err != nil {
			return nil, errors.New("SPNEGO token without mechanism")
		}
		var choice asn1.RawValue
		if _, err := asn1.Unmarshal(rest, &choice); err != nil {
			return nil, errors.New("SPNEGO token without content")
		}
		inner = choice.Bytes
	}
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(inner, &seq); err != nil {
		return nil, errors.New("SPNEGO token without sequence")
	}
	return spnegoField2(seq.Bytes)
}

func spnegoField2(rest []byte) ([]byte, error) {
	for len(rest) > 0 {
		var f asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &f); err != nil {
			return nil, errors.New("malformed SPNEGO field")
		}
		if f.Class == asn1.ClassContextSpecific && f.Tag == 2 {
			var token []byte
			if _, err := asn1.Unmarshal(f.Bytes, &token); err != nil {
				return nil, errors.New("malformed SPNEGO mechanism token")
			}
			return token, nil
		}
	}
	return nil, errors.New("SPNEGO token without NTLM message")
}

func wrapSPNEGO(token []byte) ([]byte, error) {
	body, err := asn1.Marshal(struct {
		State asn1.Enumerated       `asn1:"explicit,tag:0"`
		Mech  asn1.ObjectIdentifier `asn1:"explicit,tag:1"`
		Token []byte                `asn1:"explicit,tag:2"`
	}{1, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}, token})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: body})
}
