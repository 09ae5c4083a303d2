package receipt

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The files that a [Fault] is in.
const (
	InReceipt = "receipt"
	InLeaves  = "leaves"
)

// ErrUnknownKey says that a receipt is signed, but not with a trusted key.
var ErrUnknownKey = errors.New("signed with a key that is not trusted")

// Fault is what is wrong with a receipt and where.
type Fault struct {
	File string // InReceipt or InLeaves
	Line int    // from 1; 0: the file as a whole
	Last int    // when it cannot be told which of several lines is wrong, the last of them, else 0
	What string
	Err  error // what is behind it, or nil
}

func (f *Fault) Error() string { return strings.TrimSpace(f.File+" "+f.Where()) + ": " + f.What }

// Unwrap returns what is behind it.
func (f *Fault) Unwrap() error { return f.Err }

// Where says which lines, "" when it is the file as a whole.
func (f *Fault) Where() string {
	switch {
	case f.Line == 0:
		return ""
	case f.Last > f.Line:
		return fmt.Sprintf("lines %d to %d", f.Line, f.Last)
	}
	return fmt.Sprintf("line %d", f.Line)
}

// Verify checks a receipt's file as [Open] does, and that it fits the leaves, every line of them. What is wrong is a
// [*Fault]; any other error comes from reading the leaves.
func Verify(file []byte, leaves io.Reader, trusted []ed25519.PublicKey) (Receipt, error) {
	r, err := Open(file, trusted)
	if err != nil {
		return r, err
	}
	return r, scan(r, leaves, nil)
}

// Open reads a receipt's file and checks that it is whole and signed with one of the trusted keys. It returns the receipt
// as far as it could be read; an error is a [*Fault]. A key is trusted because its owner handed it over by another way;
// trusting the key that the receipt names itself shows only that nothing was changed since somebody signed.
func Open(file []byte, trusted []ed25519.PublicKey) (Receipt, error) {
	r, err := Decode(file)
	if err != nil {
		return r, err
	}
	if err := r.checkSignature(file, trusted); err != nil {
		return r, &Fault{File: InReceipt, Line: lineOf(file, "signature"), What: err.Error(), Err: err}
	}
	return r, nil
}

// PublicKey is the key that the receipt says it is signed with.
func (r Receipt) PublicKey() (ed25519.PublicKey, error) { return parsePublic(r.Signature.Public) }

func (r Receipt) checkSignature(file []byte, trusted []ed25519.PublicKey) error {
	s := r.Signature
	if len(s.Value) == 0 {
		return errors.New("the receipt is not signed")
	}
	if s.Algorithm != Algorithm {
		return fmt.Errorf("algorithm %q, want %s", s.Algorithm, Algorithm)
	}
	key, err := r.PublicKey()
	if err != nil {
		return fmt.Errorf("public: %w", err)
	}
	if s.Key != Fingerprint(key) {
		return errors.New("key: is not the fingerprint of the public key")
	}
	payload, value, err := signed(file)
	if err != nil {
		return err
	}
	if value != base64.StdEncoding.EncodeToString(s.Value) || !ed25519.Verify(key, payload, s.Value) {
		return errors.New("the signature does not fit: the receipt was changed after it was signed")
	}
	if !slices.ContainsFunc(trusted, func(t ed25519.PublicKey) bool { return t.Equal(key) }) {
		return fmt.Errorf("%w: %s", ErrUnknownKey, s.Key)
	}
	return nil
}
