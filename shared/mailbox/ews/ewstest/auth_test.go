package ewstest

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	ntlmssp "github.com/Azure/go-ntlmssp"
)

func TestNTLMAuthenticatesTheConnection(t *testing.T) {
	t.Parallel()
	for _, scheme := range []Scheme{NTLM, Negotiate} {
		t.Run(string(scheme), func(t *testing.T) {
			t.Parallel()
			s := New(t, Options{Auth: []Scheme{scheme}})
			s.AddAccount("anna", "geheim", "CORP", Owns(address))
			requests := &counting{RoundTripper: &http.Transport{MaxConnsPerHost: 1}}
			client := &http.Client{Transport: ntlmssp.Negotiator{RoundTripper: requests}}
			for i, want := range []int{3, 4} { // the handshake, then nothing more than the request
				if got := wsdl(t, client, s, `CORP\anna`, "geheim"); got != http.StatusOK || requests.n != want {
					t.Fatalf("request %d: status %d after %d requests, want 200 after %d", i, got, requests.n, want)
				}
			}
			other := &http.Client{Transport: ntlmssp.Negotiator{RoundTripper: &http.Transport{}}}
			if got := wsdl(t, other, s, `CORP\anna`, "falsch"); got != http.StatusUnauthorized {
				t.Fatalf("wrong password on another connection: status %d", got)
			}
		})
	}
}

type counting struct {
	http.RoundTripper
	n int
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n++
	return c.RoundTripper.RoundTrip(r)
}

func wsdl(t *testing.T, c *http.Client, s *Server, user, password string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(s.URL(), "EWS/Exchange.asmx", "ews/services.wsdl", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestLogOn(t *testing.T) {
	t.Parallel()
	s := New(t, Options{Auth: []Scheme{NTLM, Basic}})
	s.AddAccount("anna", "geheim", "CORP", Owns(address))
	for _, c := range []struct {
		name, user, password string
		want                 int
	}{
		{"user", "anna", "geheim", 200},
		{"domain", `corp\ANNA`, "geheim", 200},
		{"DNS domain", `corp.test\anna`, "geheim", 200},
		{"principal name", "anna@corp.test", "geheim", 200},
		{"address", address, "geheim", 200},
		{"other domain", `ELSEWHERE\anna`, "geheim", 401},
		{"other user", "bo", "geheim", 401},
		{"password in other case", "anna", "Geheim", 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, client := range []*http.Client{{}, {Transport: ntlmssp.Negotiator{RoundTripper: &http.Transport{}}}} {
				if got := wsdl(t, client, s, c.user, c.password); got != c.want {
					t.Errorf("got %d, want %d", got, c.want)
				}
			}
		})
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	s := New(t, Options{Auth: []Scheme{Negotiate, NTLM, Basic}})
	resp, err := s.Client().Post(s.URL(), "text/xml", strings.NewReader("<x/>"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	got := strings.Join(resp.Header.Values("WWW-Authenticate"), ", ")
	want := `Negotiate, NTLM, Basic realm="` + resp.Request.Host + `"`
	if resp.StatusCode != 401 || !strings.HasPrefix(got, "Negotiate, NTLM, Basic realm=") {
		t.Fatalf("got %d %q, want 401 %q", resp.StatusCode, got, want)
	}
}

// The example of MS-NLMP 4.2.4: user "User", domain "Domain", password "Password".
func TestNTLMv2Example(t *testing.T) {
	t.Parallel()
	key := macMD5(md4Sum(utf16le("Password")), utf16le("USERDomain"))
	if want := []byte{0x0c, 0x86, 0x8a, 0x40, 0x3b, 0xfd, 0x7a, 0x93, 0xa3, 0x00, 0x1e, 0xf2, 0x2e, 0xf0, 0x2e, 0x3f}; !bytes.Equal(key, want) {
		t.Fatalf("NTOWFv2: got % x, want % x", key, want)
	}
}

func TestMessageIntegrityCodeIsChecked(t *testing.T) {
	t.Parallel()
	n := ntlmNegotiate{flags: ntlmUnicode, raw: []byte("the first message")}
	c := newChallenge(n, "CORP", "EX01", time.Unix(1_800_000_000, 0))
	a, err := decodeAuthenticate(withIntegrityCode(c, "anna", "geheim"))
	if err != nil {
		t.Fatal(err)
	}
	if a.mic == nil || !c.verify(a, "geheim") {
		t.Fatal("a good message is refused")
	}
	c.negotiate = []byte("another first message")
	if c.verify(a, "geheim") {
		t.Fatal("a changed first message is accepted")
	}
}

// withIntegrityCode makes a type 3 message as a client does that got the time from the server (MS-NLMP 3.1.5.1.2).
func withIntegrityCode(c *ntlmChallenge, user, password string) []byte {
	blob := append(make([]byte, 28), avFlags, 0, 4, 0, avFlagMIC, 0, 0, 0, avEnd, 0, 0, 0)
	key := macMD5(md4Sum(utf16le(password)), utf16le(strings.ToUpper(user)))
	proof := macMD5(key, c.nonce[:], blob)
	nt, name := append(bytes.Clone(proof), blob...), utf16le(user)
	b := append([]byte(ntlmSignature), 3, 0, 0, 0)
	b = ntlmField(b, 0, 88)
	b = ntlmField(b, len(nt), 88)
	b = ntlmField(b, 0, 88)
	b = ntlmField(b, len(name), 88+len(nt))
	b = ntlmField(b, 0, 88)
	b = ntlmField(b, 0, 88)
	b = append(b, ntlmUnicode, 0, 0, 0)
	b = append(b, make([]byte, 24)...)
	b = append(append(b, nt...), name...)
	copy(b[72:], macMD5(macMD5(key, proof), c.negotiate, c.raw, b))
	return b
}

func TestNegotiateInSPNEGO(t *testing.T) {
	t.Parallel()
	s := New(t, Options{Auth: []Scheme{Negotiate}})
	s.AddAccount("anna", "geheim", "CORP", Owns(address))
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	first, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		t.Fatal(err)
	}
	status, token := negotiate(t, client, s, initToken(t, first))
	challenge, wrapped := unwrapSPNEGO(token)
	if status != 401 || !wrapped {
		t.Fatalf("status %d, wrapped %v", status, wrapped)
	}
	third, err := ntlmssp.NewAuthenticateMessage(challenge, "anna", "geheim", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := wrapSPNEGO(third)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ = negotiate(t, client, s, answer); status != 200 {
		t.Fatalf("status %d, want 200", status)
	}
}

func initToken(t *testing.T, mech []byte) []byte {
	t.Helper()
	body, err := asn1.Marshal(struct {
		Mechs []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		Token []byte                  `asn1:"explicit,tag:2"`
	}{[]asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}}, mech})
	if err != nil {
		t.Fatal(err)
	}
	choice, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: body})
	if err != nil {
		t.Fatal(err)
	}
	oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2})
	if err != nil {
		t.Fatal(err)
	}
	b, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: 0, IsCompound: true, Bytes: append(oid, choice...)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func negotiate(t *testing.T, c *http.Client, s *Server, token []byte) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(s.URL(), "Exchange.asmx", "Services.wsdl", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Negotiate "+base64.StdEncoding.EncodeToString(token))
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	_, value, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " ")
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

func FuzzNTLM(f *testing.F) {
	f.Add([]byte(ntlmSignature + "\x01\x00\x00\x00\x07\x82\x08\xa2"))
	f.Add(append([]byte(ntlmSignature+"\x03\x00\x00\x00"), make([]byte, 90)...))
	f.Add([]byte{0x60, 0x20, 0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02, 0xa0, 0x16})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, _ := unwrapSPNEGO(b)
		if n, err := decodeNegotiate(m); err == nil {
			newChallenge(n, "CORP", "EX01", time.Unix(0, 0))
		}
		if a, err := decodeAuthenticate(m); err == nil {
			if (&ntlmChallenge{}).verify(a, "a password that nobody has") {
				t.Fatal("a forged message is accepted")
			}
		}
	})
}
