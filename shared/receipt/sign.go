package receipt

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Algorithm is the only one there is.
const Algorithm = "Ed25519"

// Signature says who signed. It is the receipt's last member and Value its own last one.
type Signature struct {
	Algorithm string `json:"algorithm"`
	Key       string `json:"key"`    // fingerprint of the public key
	Public    []byte `json:"public"` // the public key, DER (X.509 SubjectPublicKeyInfo)
	Value     []byte `json:"value"`
}

// SigningKey is a private key. However it is printed, logged or encoded, it reads ***. The zero SigningKey is none.
type SigningKey struct {
	reveal func() ed25519.PrivateKey // behind a function, where printing by reflection does not reach it
}

// NewKey makes a key.
func NewKey() (SigningKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("make key: %w", err)
	}
	return keyOf(private), nil
}

func keyOf(private ed25519.PrivateKey) SigningKey {
	return SigningKey{func() ed25519.PrivateKey { return private }}
}

var errKey = errors.New("want an Ed25519 private key: PKCS#8 PEM, or 32 bytes in base64; ferry receipt key makes one")

// ParseKey reads the setting RECEIPT_KEY: a PKCS#8 PEM, whose line feeds may be written as \n, or the 32-byte seed in
// base64. Its error does not quote the setting.
func ParseKey(setting string) (SigningKey, error) {
	s := strings.TrimSpace(strings.ReplaceAll(setting, `\n`, "\n"))
	if !strings.HasPrefix(s, "-----") {
		seed, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil || len(seed) != ed25519.SeedSize {
			return SigningKey{}, errKey
		}
		return keyOf(ed25519.NewKeyFromSeed(seed)), nil
	}
	block, rest := pem.Decode([]byte(s))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return SigningKey{}, errKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return SigningKey{}, errKey
	}
	return keyOf(private), nil
}

// UnmarshalText is ParseKey; an empty text is no key.
func (k *SigningKey) UnmarshalText(b []byte) (err error) {
	*k = SigningKey{}
	if len(b) > 0 {
		*k, err = ParseKey(string(b))
	}
	return err
}

// String implements fmt.Stringer.
func (k SigningKey) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (k SigningKey) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText implements encoding.TextMarshaler.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte("***"), nil }

// IsZero says that there is no key.
func (k SigningKey) IsZero() bool { return k.reveal == nil }

// RevealPEM returns the private key itself, as PKCS#8 PEM.
func (k SigningKey) RevealPEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.reveal())
	if err != nil {
		panic(err) // an Ed25519 key always encodes
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Public returns the public key.
func (k SigningKey) Public() ed25519.PublicKey {
	return k.reveal().Public().(ed25519.PublicKey)
}

// Fingerprint is the SHA-256 of a public key's DER form in hexadecimal digits.
func Fingerprint(k ed25519.PublicKey) string {
	sum := sha256.Sum256(publicDER(k))
	return hex.EncodeToString(sum[:])
}

func publicDER(k ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		panic(err) // an Ed25519 key always encodes
	}
	return der
}

// PublicPEM writes a public key for people to keep and to trust.
func PublicPEM(k ed25519.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(k)})
}

// ParsePublic reads one or more public keys as PublicPEM writes them. Text around them is left aside, as is usual in PEM
// files.
func ParsePublic(b []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type == "PRIVATE KEY" {
			return nil, errors.New("this is a private key; give the public key that ferry receipt key printed")
		}
		k, err := parsePublic(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", len(keys)+1, err)
		}
		keys, b = append(keys, k), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key; want a PEM file with -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}

func parsePublic(der []byte) (ed25519.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if k, ok := parsed.(ed25519.PublicKey); ok && err == nil && bytes.Equal(publicDER(k), der) {
		return k, nil
	}
	return nil, errors.New("want an Ed25519 public key")
}

// Sign signs a receipt. The same key and receipt make the same signature.
func (k SigningKey) Sign(r Receipt) (Receipt, error) {
	if k.IsZero() {
		return r, errors.New("sign receipt: no key; set RECEIPT_KEY")
	}
	public := k.Public()
	r.Signature = Signature{Algorithm, Fingerprint(public), publicDER(public), make([]byte, ed25519.SignatureSize)}
	b, err := Encode(r)
	if err != nil {
		return r, err
	}
	payload, _, err := signed(b)
	if err != nil {
		return r, fmt.Errorf("sign receipt: %w", err)
	}
	r.Signature.Value = ed25519.Sign(k.reveal(), payload)
	return r, nil
}

// signed takes a receipt's file apart: what is signed, and the text of the signature's value.
func signed(file []byte) (payload []byte, value string, err error) {
	var b bytes.Buffer
	if err := json.Compact(&b, file); err != nil {
		return nil, "", err
	}
	const start, end = `,"value":"`, `"}}`
	all := b.Bytes()
	at := bytes.LastIndex(all, []byte(start))
	if at < 0 || !bytes.HasSuffix(all, []byte(end)) || at+len(start) > len(all)-len(end) {
		return nil, "", errors.New("signature with its value is not the last member")
	}
	value = string(all[at+len(start) : len(all)-len(end)])
	return append(bytes.Clone(all[:at]), "}}"...), value, nil
}
