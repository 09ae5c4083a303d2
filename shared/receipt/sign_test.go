package receipt_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/receipt"
)

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	k, err := receipt.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private := string(k.RevealPEM())
	for name, setting := range map[string]string{
		"PEM":                    private,
		"PEM in one line":        strings.ReplaceAll(private, "\n", `\n`),
		"PEM with white space":   "\n  " + private + "\n\n",
		"PEM with CRLF":          strings.ReplaceAll(private, "\n", "\r\n"),
		"PEM without a last end": strings.TrimSpace(private),
	} {
		got, err := receipt.ParseKey(setting)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !got.Public().Equal(k.Public()) {
			t.Errorf("%s: another key", name)
		}
	}
	public, err := receipt.ParsePublic(append(receipt.PublicPEM(k.Public()), receipt.PublicPEM(signer(t, 1).Public())...))
	if err != nil || len(public) != 2 || !public[0].Equal(k.Public()) {
		t.Errorf("public: %d keys, %v", len(public), err)
	}
	var none receipt.SigningKey
	if err := none.UnmarshalText(nil); err != nil || !none.IsZero() {
		t.Errorf("no setting: %v", err)
	}
	if _, err := none.Sign(build(t, few()).Receipt); err == nil || !strings.Contains(err.Error(), "RECEIPT_KEY") {
		t.Errorf("sign without a key: %v", err)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	good := string(signer(t, 1).RevealPEM())
	for name, setting := range map[string]string{
		"nothing":        "",
		"not base64":     "pässwörd-not-to-be-shown",
		"31 bytes":       base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"64 bytes":       base64.StdEncoding.EncodeToString(make([]byte, 64)),
		"another kind":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"public key":     string(receipt.PublicPEM(signer(t, 1).Public())),
		"two keys":       good + good,
		"cut":            good[:len(good)-10],
		"not PKCS#8":     string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})),
		"sloppy base64":  strings.TrimRight(base64.StdEncoding.EncodeToString(make([]byte, 32)), "="),
		"bits to spare":  base64.StdEncoding.EncodeToString(make([]byte, 32))[:42] + "B=",
		"dashes, no PEM": "----- hello",
	} {
		k, err := receipt.ParseKey(setting)
		if err == nil || !k.IsZero() {
			t.Errorf("%s is taken", name)
			continue
		}
		if len(setting) > 8 && strings.Contains(err.Error(), setting[:8]) {
			t.Errorf("%s: the error quotes the setting", name)
		}
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "private": []byte(good), "garbage": []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
	} {
		if _, err := receipt.ParsePublic(b); err == nil {
			t.Errorf("public: %s is taken", name)
		}
	}
}

func TestAPrivateKeyIsNeverShown(t *testing.T) {
	t.Parallel()
	k := signer(t, 'Q')
	secret := strings.Repeat("Q", 32)
	inside := struct {
		Key    receipt.SigningKey
		hidden receipt.SigningKey
	}{k, k}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "key", k, "all", inside)
	encoded, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %q %x", inside, inside, inside, k, k, k), log.String(), string(encoded)} {
		for _, form := range []string{secret, "81 81 81", "0x51, 0x51", "515151", "UVFRUVFR"} {
			if strings.Contains(shown, form) {
				t.Errorf("the key is shown: %s", shown)
			}
		}
	}
}
