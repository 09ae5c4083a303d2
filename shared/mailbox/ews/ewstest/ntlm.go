package ewstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // NTLM (MS-NLMP 3.3.2) is defined with MD4
)

// Flags of MS-NLMP 2.2.2.5 that matter here.
const (
	ntlmUnicode     = 1 << 0
	ntlmOEM         = 1 << 1
	ntlmTarget      = 1 << 2
	ntlmSign        = 1 << 4
	ntlmSeal        = 1 << 5
	ntlmNTLM        = 1 << 9
	ntlmAlwaysSign  = 1 << 15
	ntlmDomain      = 1 << 16
	ntlmExtended    = 1 << 19
	ntlmTargetInfo  = 1 << 23
	ntlmVersion     = 1 << 25
	ntlm128         = 1 << 29
	ntlmKeyExchange = 1 << 30
	ntlm56          = 1 << 31
)

// ids of the AV pairs of MS-NLMP 2.2.2.1.
const (
	avEnd = iota
	avComputer
	avDomain
	avDNSComputer
	avDNSDomain
	avDNSTree
	avFlags
	avTimestamp
)

const (
	ntlmSignature  = "NTLMSSP\x00"
	ntlmMaxMessage = 64 << 10 // more than any client sends; headers are capped near it anyway
	avFlagMIC      = 2
)

var errNTLM = errors.New("not an NTLM message")

func ntlmType(b []byte) (uint32, error) {
	if len(b) < 12 || len(b) > ntlmMaxMessage || string(b[:8]) != ntlmSignature {
		return 0, errNTLM
	}
	return binary.LittleEndian.Uint32(b[8:]), nil
}

// ntlmNegotiate is what a type 1 message asks for.
type ntlmNegotiate struct {
	flags uint32
	raw   []byte
}

func decodeNegotiate(b []byte) (ntlmNegotiate, error) {
	t, err := ntlmType(b)
	if err != nil {
		return ntlmNegotiate{}, err
	}
	if t != 1 || len(b) < 16 {
		return ntlmNegotiate{}, fmt.Errorf("ntlm type %d, %d bytes: %w", t, len(b), errNTLM)
	}
	n := ntlmNegotiate{flags: binary.LittleEndian.Uint32(b[12:]), raw: bytes.Clone(b)}
	if n.flags&(ntlmUnicode|ntlmOEM) == 0 {
		return n, fmt.Errorf("ntlm without a character set: %w", errNTLM)
	}
	return n, nil
}

// ntlmChallenge is one handshake from the type 2 message on.
type ntlmChallenge struct {
	nonce     [8]byte
	negotiate []byte
	raw       []byte
}

func newChallenge(n ntlmNegotiate, domain, host string, now time.Time) *ntlmChallenge {
	c := &ntlmChallenge{negotiate: n.raw}
	_, _ = rand.Read(c.nonce[:])
	flags := uint32(ntlmTarget | ntlmNTLM | ntlmDomain | ntlmExtended | ntlmTargetInfo | ntlmVersion)
	flags |= n.flags & (ntlmSign | ntlmSeal | ntlmAlwaysSign | ntlmKeyExchange | ntlm128 | ntlm56)
	name, info := utf16le(domain), targetInfo(domain, host, now)
	if flags |= n.flags & ntlmUnicode; flags&ntlmUnicode == 0 { // curl's first message knows OEM only
		flags |= ntlmOEM
		name = []byte(domain)
	}

	b := append([]byte(ntlmSignature), 2, 0, 0, 0)
	b = ntlmField(b, len(name), 56)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = append(append(b, c.nonce[:]...), make([]byte, 8)...)
	b = ntlmField(b, len(info), 56+len(name))
	b = append(b, 10, 0, 0x63, 0x45, 0, 0, 0, 15) // Windows Server 2016, NTLM revision 15
	c.raw = append(append(b, name...), info...)
	return c
}

func ntlmField(b []byte, length, offset int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	return binary.LittleEndian.AppendUint32(b, uint32(offset))
}

func targetInfo(domain, host string, now time.Time) []byte {
	var b []byte
	pair := func(id uint16, v []byte) {
		b = binary.LittleEndian.AppendUint16(b, id)
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(v))), v...)
	}
	dns := strings.ToLower(domain) + ".test"
	pair(avDomain, utf16le(domain))
	pair(avComputer, utf16le(host))
	pair(avDNSDomain, utf16le(dns))
	pair(avDNSComputer, utf16le(strings.ToLower(host)+"."+dns))
	pair(avDNSTree, utf16le(dns))
	pair(avTimestamp, binary.LittleEndian.AppendUint64(nil, filetime(now)))
	pair(avEnd, nil)
	return b
}

// ntlmAuthenticate is a type 3 message.
type ntlmAuthenticate struct {
	user, domain string
	proof        []byte // NTProofStr
	blob         []byte // what the proof is over, after the server's challenge
	sessionKey   []byte
	flags        uint32
	mic          []byte // nil when the client says it sends none
	raw          []byte
}

func decodeAuthenticate(b []byte) (*ntlmAuthenticate, error) {
	t, err := ntlmType(b)
	if err != nil {
		return nil, err
	}
	if t != 3 || len(b) < 64 {
		return nil, fmt.Errorf("ntlm type %d, %d bytes: %w", t, len(b), errNTLM)
	}
	a := &ntlmAuthenticate{raw: bytes.Clone(b), flags: binary.LittleEndian.Uint32(b[60:])}
	var nt, domain, user []byte
	for _, f := range []struct {
		at int
		to *[]byte
	}{{20, &nt}, {28, &domain}, {36, &user}, {52, &a.sessionKey}} {
		if *f.to, err = payload(a.raw, f.at); err != nil {
			return nil, err
		}
	}
	if len(nt) < 16+28 {
		return nil, fmt.Errorf("ntlm response of %d bytes is not NTLMv2: %w", len(nt), errNTLM)
	}
	a.proof, a.blob = nt[:16], nt[16:]
	a.user, a.domain = string(user), string(domain)
	if a.flags&ntlmUnicode != 0 {
		a.user, a.domain = fromUTF16le(user), fromUTF16le(domain)
	}
	if avValue(a.blob[28:], avFlags)&avFlagMIC != 0 {
		if len(b) < 88 {
			return nil, fmt.Errorf("ntlm integrity code announced and missing: %w", errNTLM)
		}
		a.mic = a.raw[72:88]
	}
	return a, nil
}

func payload(b []byte, at int) ([]byte, error) {
	n, off := int(binary.LittleEndian.Uint16(b[at:])), int64(binary.LittleEndian.Uint32(b[at+4:]))
	if n == 0 {
		return nil, nil
	}
	if off < 64 || off+int64(n) > int64(len(b)) {
		return nil, fmt.Errorf("ntlm field at %d points outside: %w", at, errNTLM)
	}
	return b[off : off+int64(n)], nil
}

// avValue returns an AV pair that holds a 32-bit number, 0 when it is absent.
func avValue(b []byte, id uint16) uint32 {
	for len(b) >= 4 {
		got, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if got == avEnd || len(b) < 4+n {
			return 0
		}
		if got == id && n == 4 {
			return binary.LittleEndian.Uint32(b[4:])
		}
		b = b[4+n:]
	}
	return 0
}

// verify says whether a was computed from this challenge and the password (MS-NLMP 3.3.2).
func (c *ntlmChallenge) verify(a *ntlmAuthenticate, password string) bool {
	key := macMD5(md4Sum(utf16le(password)), utf16le(strings.ToUpper(a.user)+a.domain))
	if !hmac.Equal(macMD5(key, c.nonce[:], a.blob), a.proof) {
		return false
	}
	return a.mic == nil || c.intact(a, macMD5(key, a.proof))
}

// intact checks the message integrity code over all three messages.
func (c *ntlmChallenge) intact(a *ntlmAuthenticate, session []byte) bool {
	if a.flags&ntlmKeyExchange != 0 && a.flags&(ntlmSign|ntlmSeal) != 0 {
		if len(a.sessionKey) != 16 {
			return false
		}
		r, err := rc4.NewCipher(session)
		if err != nil {
			return false
		}
		exported := make([]byte, 16)
		r.XORKeyStream(exported, a.sessionKey)
		session = exported
	}
	blank := bytes.Clone(a.raw)
	clear(blank[72:88])
	return hmac.Equal(macMD5(session, c.negotiate, c.raw, blank), a.mic)
}

func macMD5(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func md4Sum(b []byte) []byte {
	h := md4.New()
	h.Write(b)
	return h.Sum(nil)
}

func utf16le(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func fromUTF16le(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}

// filetime is 100 ns steps since 1601.
func filetime(t time.Time) uint64 { return uint64(t.UnixNano()/100) + 116444736000000000 }
