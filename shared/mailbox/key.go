package mailbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
)

// Identity is what makes an item the same on both sides, as far as its properties go. Two items in a folder may
// share it; a [Key] tells them apart.
type Identity [16]byte

// Key is an item's identity in its folder. Ordinal numbers the items of a folder that share an identity, from 0.
type Key struct {
	Identity Identity
	Ordinal  int
}

// identityLength is how many characters of a text count, of those that stand before listingCut: what counts must lie
// below where a listing cuts on both sides.
const identityLength = 120

// Identity returns the item's identity.
//
// PidTagSearchKey and PidTagInternetMessageId are written once, survive edits, moves and a FastTransfer import, and
// both sides list them. The search key alone is not enough because a copy shares it with its original; the message
// ID alone is not enough because many items have none and many share one. An item without a search key is known by
// everything else that an import keeps.
func (p Properties) Identity() Identity {
	h := sha256.New()
	add := func(s string) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	if len(p.SearchKey) > 0 {
		add("search key")
		add(string(p.SearchKey))
		add(plain(p.MessageID))
	} else {
		add("properties")
		for _, s := range []string{strings.ToLower(p.Class), p.MessageID, p.Subject, p.Sender} {
			add(plain(s))
		}
		add(strconv.FormatInt(second(p.Submitted), 10))
		add(strconv.FormatInt(second(p.Received), 10))
	}
	var id Identity
	copy(id[:], h.Sum(nil))
	return id
}

// plain is the part of a text that both sides show alike: no control characters (XML cannot carry them), white space
// folded, and only as long as no listing cuts it.
func plain(s string) string {
	var b strings.Builder
	space, n, read := false, 0, 0
	for _, r := range s {
		if read += utf16.RuneLen(r); read > listingCut {
			break
		}
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case unicode.IsControl(r) || r == unicode.ReplacementChar || r == 0xFFFE || r == 0xFFFF:
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
		}
		if n >= identityLength {
			break
		}
		space = false
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// second is a time in whole seconds: EWS lists no fractions.
func second(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Keyed is an item of a listing with its key.
type Keyed struct {
	Key Key
	Item
}

// Keys gives the items of one folder their keys and sorts them by key. Items with equal identities are numbered in
// the order of their other properties, so that both sides number them alike.
func Keys(items []Item) []Keyed {
	out := make([]Keyed, len(items))
	for i, it := range items {
		out[i] = Keyed{Key{Identity: it.Identity()}, it}
	}
	slices.SortStableFunc(out, func(a, b Keyed) int {
		return cmp.Or(slices.Compare(a.Key.Identity[:], b.Key.Identity[:]), order(a, b), cmp.Compare(a.ID, b.ID))
	})
	for i := 1; i < len(out); i++ {
		if out[i].Key.Identity == out[i-1].Key.Identity {
			out[i].Key.Ordinal = out[i-1].Key.Ordinal + 1
		}
	}
	return out
}

// order is the order of items with equal identities.
func order(a, b Keyed) int {
	return cmp.Or(
		cmp.Compare(second(a.Received), second(b.Received)),
		cmp.Compare(second(a.Submitted), second(b.Submitted)),
		cmp.Compare(plain(a.Subject), plain(b.Subject)),
		cmp.Compare(strings.ToLower(a.Class), strings.ToLower(b.Class)),
		cmp.Compare(a.Flags&FlagRead, b.Flags&FlagRead),
		cmp.Compare(a.FlagStatus, b.FlagStatus),
		cmp.Compare(a.Importance, b.Importance),
		cmp.Compare(plain(a.Sender), plain(b.Sender)),
		cmp.Compare(plain(a.To), plain(b.To)),
		cmp.Compare(strconv.FormatBool(a.Attachments), strconv.FormatBool(b.Attachments)),
		cmp.Compare(a.Size, b.Size),
	)
}

// Align numbers the items of a target's folder by what they stand for at the source. Numbers alone say that only while
// both sides hold the same items: when the first of two equal mails was deleted or could not be copied, the second is the
// first on one side. So items of equal identity that agree in what listings show get the same key, the others stand for
// what is left, in order, and what the target has more of is numbered last. Both lists are sorted by key, and stay so.
func Align(source, target []Keyed) {
	for len(source) > 0 && len(target) > 0 {
		s, t := run(source), run(target)
		switch c := slices.Compare(source[0].Key.Identity[:], target[0].Key.Identity[:]); {
		case c < 0:
			t = 0
		case c > 0:
			s = 0
		case s > 1 || t > 1:
			alignRun(source[:s], target[:t])
		}
		source, target = source[s:], target[t:]
	}
}

// run is how many items the identity at the beginning of a list has.
func run(list []Keyed) int {
	n := 1
	for n < len(list) && list[n].Key.Identity == list[0].Key.Identity {
		n++
	}
	return n
}

func alignRun(source, target []Keyed) {
	taken := make([]bool, len(source))
	var rest []int
	s := 0
	for t := range target {
		for s < len(source) && len(Differences(source[s].Item, target[t].Item)) > 0 && order(source[s], target[t]) < 0 {
			s++
		}
		if s == len(source) || len(Differences(source[s].Item, target[t].Item)) > 0 {
			rest = append(rest, t)
			continue
		}
		target[t].Key.Ordinal, taken[s] = s, true
		s++
	}
	n := 0
	for _, t := range rest {
		for n < len(source) && taken[n] {
			n++
		}
		target[t].Key.Ordinal = n
		n++
	}
	slices.SortFunc(target, func(a, b Keyed) int { return a.Key.Compare(b.Key) })
}

// Compare orders keys by identity, then ordinal.
func (k Key) Compare(o Key) int {
	return cmp.Or(slices.Compare(k.Identity[:], o.Identity[:]), cmp.Compare(k.Ordinal, o.Ordinal))
}

// String is the key in 32 hexadecimal digits, followed by "+ordinal" unless that is 0.
func (k Key) String() string {
	s := hex.EncodeToString(k.Identity[:])
	if k.Ordinal > 0 {
		s += "+" + strconv.Itoa(k.Ordinal)
	}
	return s
}

// ParseKey reads what String writes.
func ParseKey(s string) (Key, error) {
	var k Key
	digits, ordinal, more := strings.Cut(s, "+")
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(k.Identity) || strings.ToLower(digits) != digits {
		return Key{}, fmt.Errorf("key %q: want 32 lower-case hexadecimal digits", s)
	}
	copy(k.Identity[:], b)
	if !more {
		return k, nil
	}
	k.Ordinal, err = strconv.Atoi(ordinal)
	if err != nil || k.Ordinal < 1 || strconv.Itoa(k.Ordinal) != ordinal {
		return Key{}, fmt.Errorf("key %q: want a number from 1 behind the plus sign", s)
	}
	return k, nil
}

// MarshalText and UnmarshalText are String and ParseKey.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (k *Key) UnmarshalText(b []byte) (err error) {
	*k, err = ParseKey(string(b))
	return err
}

// Fingerprint is a short name for an address that can stand in an ID: it does not contain the address.
func Fingerprint(addresses ...string) string {
	h := sha256.New()
	for _, a := range addresses {
		h.Write([]byte(strings.ToLower(strings.TrimSpace(a))))
		h.Write([]byte{0})
	}
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(base64.RawURLEncoding.EncodeToString(h.Sum(nil)))[:20])
}
