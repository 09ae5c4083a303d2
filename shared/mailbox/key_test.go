package mailbox_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/mailferry/mailferry/shared/mailbox"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// letter is a mail as most are; note is an item without a search key, known by what else an import keeps.
func letter() mailbox.Properties {
	return mailbox.Properties{Class: "IPM.Note", SearchKey: []byte("0123456789abcdef"), MessageID: "<1@example.org>", Subject: "Minutes",
		Sender: "ann@example.org", Submitted: noon, Received: noon.Add(5 * time.Second), To: "Bob", Flags: mailbox.FlagRead, Importance: 1}
}

func note() mailbox.Properties {
	p := letter()
	p.SearchKey, p.MessageID = nil, ""
	return p
}

func TestWhatTheIdentityDependsOn(t *testing.T) {
	t.Parallel()
	type edit func(*mailbox.Properties)
	tests := []struct {
		name         string
		change       edit
		letter, note bool // whether it makes another item of a mail, and of an item without a search key
	}{
		{"nothing", func(*mailbox.Properties) {}, false, false},
		{"another search key", func(p *mailbox.Properties) { p.SearchKey = []byte("0123456789abcdeg") }, true, true},
		{"another message ID", func(p *mailbox.Properties) { p.MessageID = "<2@example.org>" }, true, true},
		{"a message ID in other letters", func(p *mailbox.Properties) { p.MessageID = "<1@EXAMPLE.org>" }, true, true},
		{"another subject", func(p *mailbox.Properties) { p.Subject = "Minutes!" }, false, true},
		{"a subject in other letters", func(p *mailbox.Properties) { p.Subject = "minutes" }, false, true},
		{"white space in the subject", func(p *mailbox.Properties) { p.Subject = " Minutes\r\n" }, false, false},
		{"a control character in the subject", func(p *mailbox.Properties) { p.Subject = "Min\x01utes" }, false, false},
		{"another class", func(p *mailbox.Properties) { p.Class = "IPM.StickyNote" }, false, true},
		{"the class in other letters", func(p *mailbox.Properties) { p.Class = "ipm.note" }, false, false},
		{"another sender", func(p *mailbox.Properties) { p.Sender = "eve@example.org" }, false, true},
		{"sent a second later", func(p *mailbox.Properties) { p.Submitted = p.Submitted.Add(time.Second) }, false, true},
		{"sent at no time", func(p *mailbox.Properties) { p.Submitted = time.Time{} }, false, true},
		{"received a second later", func(p *mailbox.Properties) { p.Received = p.Received.Add(time.Second) }, false, true},
		{"a fraction of a second", func(p *mailbox.Properties) { p.Received = p.Received.Add(999 * time.Millisecond) }, false, false},
		{"another time zone", func(p *mailbox.Properties) { p.Received = p.Received.In(time.FixedZone("CET", 3600)) }, false, false},
		{"read or not", func(p *mailbox.Properties) { p.Flags = 0 }, false, false},
		{"flagged", func(p *mailbox.Properties) { p.FlagStatus = 2 }, false, false},
		{"importance", func(p *mailbox.Properties) { p.Importance = 2 }, false, false},
		{"recipients", func(p *mailbox.Properties) { p.To, p.Cc, p.Bcc = "Eve", "Cy", "Di" }, false, false},
		{"attachments", func(p *mailbox.Properties) { p.Attachments = true }, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, of := range []struct {
				what string
				old  mailbox.Properties
				want bool
			}{{"letter", letter(), test.letter}, {"note", note(), test.note}} {
				changed := of.old
				test.change(&changed)
				if got := changed.Identity() != of.old.Identity(); got != of.want {
					t.Errorf("%s: another identity: %t, want %t", of.what, got, of.want)
				}
			}
		})
	}
}

func TestPropertiesDoNotRunTogether(t *testing.T) {
	t.Parallel()
	seen := map[mailbox.Identity]string{}
	for _, p := range []mailbox.Properties{
		{}, {Subject: "ab"}, {Sender: "ab"}, {MessageID: "ab"}, {Class: "ab"}, {Subject: "a", Sender: "b"}, {Class: "a", MessageID: "b"},
		{MessageID: "a", Subject: "b"}, {SearchKey: []byte("ab")}, {SearchKey: []byte("a"), MessageID: "b"},
		{Submitted: noon}, {Received: noon}, {Submitted: time.Unix(1, 0), Received: time.Unix(23, 0)}, {Submitted: time.Unix(12, 0), Received: time.Unix(3, 0)},
	} {
		if other, there := seen[p.Identity()]; there {
			t.Errorf("%+v has the identity of %s", p, other)
		}
		seen[p.Identity()] = fmt.Sprintf("%+v", p)
	}
}

// The identity stands in ledgers and receipts: it may not change with the code.
func TestTheIdentityStaysTheSame(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]mailbox.Properties{
		"4e232b3f3b61e159ec43260acbf6fa99": letter(),
		"30734bbaf285c183dc38f306cd7e81a2": note(),
	} {
		if got := (mailbox.Key{Identity: p.Identity()}).String(); got != want {
			t.Errorf("identity of %+v is %s, want %s", p, got, want)
		}
	}
}

func TestThreeIdenticalMailsStayThree(t *testing.T) {
	t.Parallel()
	items := []mailbox.Item{{ID: "a", Properties: letter()}, {ID: "b", Properties: letter()}, {ID: "c", Properties: letter()}, {ID: "d", Properties: note()}}
	for range 20 {
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		got := map[mailbox.ItemID]mailbox.Key{}
		keys := mailbox.Keys(items)
		for _, k := range keys {
			got[k.ID] = k.Key
		}
		same := letter().Identity()
		for id, want := range map[mailbox.ItemID]mailbox.Key{"a": {Identity: same}, "b": {Identity: same, Ordinal: 1}, "c": {Identity: same, Ordinal: 2}, "d": {Identity: note().Identity()}} {
			if got[id] != want {
				t.Fatalf("item %s has key %s, want %s; listing %+v", id, got[id], want, items)
			}
		}
		if !slices.IsSortedFunc(keys, func(a, b mailbox.Keyed) int { return a.Key.Compare(b.Key) }) {
			t.Fatalf("not sorted: %+v", keys)
		}
	}
}

// Copies of a mail share its search key and message ID, and are then read, flagged or moved one by one. Both sides must
// number them alike although their ids and their listings' order have nothing to do with each other.
func TestCopiesAreNumberedAlikeOnBothSides(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*mailbox.Properties){
		"received":    func(p *mailbox.Properties) { p.Received = p.Received.Add(time.Minute) },
		"submitted":   func(p *mailbox.Properties) { p.Submitted = p.Submitted.Add(time.Minute) },
		"subject":     func(p *mailbox.Properties) { p.Subject = "Another" },
		"class":       func(p *mailbox.Properties) { p.Class = "IPM.Note.SMIME" },
		"sender":      func(p *mailbox.Properties) { p.Sender = "eve@example.org" },
		"read":        func(p *mailbox.Properties) { p.Flags = 0 },
		"flagged":     func(p *mailbox.Properties) { p.FlagStatus = 2 },
		"importance":  func(p *mailbox.Properties) { p.Importance = 2 },
		"attachments": func(p *mailbox.Properties) { p.Attachments = true },
		"recipients":  func(p *mailbox.Properties) { p.To = "Eve" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, q := letter(), letter()
			change(&q)
			source := mailbox.Keys([]mailbox.Item{{ID: "1", Properties: p}, {ID: "2", Properties: q}})
			target := mailbox.Keys([]mailbox.Item{{ID: "8", Properties: q}, {ID: "9", Properties: p}})
			for i := range source {
				if d := mailbox.Differences(source[i].Item, target[i].Item); d != nil {
					t.Errorf("%s differs in %q: the sides number the two copies differently", source[i].Key, d)
				}
			}
		})
	}
}

func TestKeysAreReadAndWritten(t *testing.T) {
	t.Parallel()
	id := mailbox.Identity{0x0F, 15: 0xA0}
	const digits = "0f0000000000000000000000000000a0"
	for text, want := range map[string]mailbox.Key{digits: {Identity: id}, digits + "+1": {Identity: id, Ordinal: 1}, digits + "+12345": {Identity: id, Ordinal: 12345}} {
		got, err := mailbox.ParseKey(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s reads as %v and %s, err %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "0f", digits + "0", strings.ToUpper(digits), digits[:31] + "g", digits + "+", digits + "+0", digits + "+-1", digits + "+01",
		digits + "++1", digits + "+1 ", digits + "-1", " " + digits, digits + "+99999999999999999999"} {
		got, err := mailbox.ParseKey(text)
		if err == nil || got != (mailbox.Key{}) {
			t.Errorf("%q reads as %v, err %v; want an error", text, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("the error does not quote %q: %v", text, err)
		}
	}
}

func TestKeysInJSON(t *testing.T) {
	t.Parallel()
	want := map[mailbox.Key]mailbox.Key{{Ordinal: 3}: {Identity: mailbox.Identity{1}}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != `{"00000000000000000000000000000000+3":"01000000000000000000000000000000"}` {
		t.Errorf("written as %s", b)
	}
	var got map[mailbox.Key]mailbox.Key
	if err := json.Unmarshal(b, &got); err != nil || len(got) != 1 || got[mailbox.Key{Ordinal: 3}] != want[mailbox.Key{Ordinal: 3}] {
		t.Errorf("read as %v, err %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"x":"y"}`), &got); err == nil {
		t.Error("a text that is no key is read")
	}
}

func TestKeysAreOrderedByIdentityThenOrdinal(t *testing.T) {
	t.Parallel()
	sorted := []mailbox.Key{{}, {Ordinal: 1}, {Ordinal: 10}, {Identity: mailbox.Identity{15: 1}}, {Identity: mailbox.Identity{1}}, {Identity: mailbox.Identity{1}, Ordinal: 2}, {Identity: mailbox.Identity{0xFF}}}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s compared with %s is %d", a, b, got)
			}
		}
	}
}

func TestFingerprintsStandForAddresses(t *testing.T) {
	t.Parallel()
	one := mailbox.Fingerprint("ann@example.org", "ann@example.com")
	if len(one) != 20 || strings.Trim(one, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		t.Errorf("fingerprint %q: want 20 lower-case letters and digits", one)
	}
	if same := mailbox.Fingerprint(" Ann@Example.ORG", "ann@example.com\t"); same != one {
		t.Errorf("%s and %s: case and space around must not matter", same, one)
	}
	seen := map[string][]string{one: nil}
	for _, a := range [][]string{{}, {""}, {"", ""}, {"ann@example.org"}, {"ann@example.com", "ann@example.org"}, {"ann@example.organn@example.com"}, {"ann@example.org", "ann@example.com", ""}} {
		f := mailbox.Fingerprint(a...)
		if other, there := seen[f]; there {
			t.Errorf("%q and %q have the same fingerprint", a, other)
		}
		seen[f] = a
	}
	// A large batch: no two alike.
	all := map[string]bool{}
	for i := range 20_000 {
		all[mailbox.Fingerprint(fmt.Sprintf("user%d@example.org", i))] = true
	}
	if len(all) != 20_000 {
		t.Errorf("%d fingerprints of 20,000 addresses", len(all))
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "+", strings.Repeat("0", 32), strings.Repeat("a", 32) + "+1", strings.Repeat("f", 32) + "+9223372036854775808", strings.Repeat("A", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := mailbox.ParseKey(s)
		if err != nil {
			if k != (mailbox.Key{}) {
				t.Errorf("%q: error %v and key %v", s, err, k)
			}
			return
		}
		if k.String() != s {
			t.Errorf("%q is written as %q", s, k)
		}
	})
}

// FuzzIdentity holds an item as its stream has it against the same item as a listing shows it: texts cut at 255
// characters, by the counts that servers count by, characters that XML cannot carry left out, times in whole seconds.
func FuzzIdentity(f *testing.F) {
	long := strings.Repeat("0123456789", 40)
	f.Add([]byte("key"), "<1@example.org>", "Minutes", "ann@example.org", int64(1_762_000_000), int64(1), "IPM.Note")
	f.Add([]byte{}, "", long, long, int64(0), int64(999), "IPM.Appointment")
	f.Add([]byte{}, "", "a"+strings.Repeat(" ", 300)+"b", strings.Repeat("\x01", 300)+"c", int64(-1), int64(0), "")
	f.Add([]byte{}, "", strings.Repeat("😀", 300), strings.Repeat("é\r\n", 200), int64(1), int64(1), strings.Repeat("İ", 400))
	f.Add([]byte{}, "", strings.Repeat("ab \x00", 120), "\xff\xfe"+long, int64(1), int64(1), "x")
	f.Fuzz(func(t *testing.T, search []byte, id, subject, sender string, sec, nano int64, class string) {
		if len(id) > 200 || len(class) > 200 { // no server makes such
			return
		}
		subject, sender = strings.ToValidUTF8(subject, "?"), strings.ToValidUTF8(sender, "?")
		at := time.Unix(sec%1e10, (nano%1e9+1e9)%1e9)
		full := mailbox.Properties{SearchKey: search, MessageID: id, Subject: subject, Sender: sender, Submitted: at, Received: at.Add(time.Hour), Class: class}
		for name, cut := range map[string]func(string) string{"characters": cutRunes, "UTF-16": cutUnits} {
			shown := full
			shown.Subject, shown.Sender = cut(subject), cut(sender)
			shown.Submitted, shown.Received = at.Truncate(time.Second), at.Add(time.Hour).Truncate(time.Second)
			if shown.Identity() != full.Identity() {
				t.Errorf("cut by %s: another identity; subject %q, sender %q", name, subject, sender)
			}
			if d := mailbox.Differences(mailbox.Item{Properties: shown}, mailbox.Item{Properties: full}); d != nil {
				t.Errorf("cut by %s: %q differ; subject %q, sender %q", name, d, subject, sender)
			}
		}
	})
}

func cutRunes(s string) string {
	if r := []rune(s); len(r) > 255 {
		return string(r[:255])
	}
	return s
}

// cutUnits cuts between surrogates where it happens to.
func cutUnits(s string) string {
	if u := utf16.Encode([]rune(s)); len(u) > 255 {
		return string(utf16.Decode(u[:255]))
	}
	return s
}

// Equal items pair with what agrees, whichever of them one side lacks.
func TestAlign(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, source, target, want string }{
		{"the same", "A B C", "A B C", "A0 B1 C2"},
		{"the first is missing", "A B C", "B C", "B1 C2"},
		{"the last is missing", "A B C", "A B", "A0 B1"},
		{"all but the middle are missing", "A B C", "B", "B1"},
		{"the first is gone from the source", "B C", "A B C", "B0 C1 A2"},
		{"one is another", "A B C", "A C X", "A0 X1 C2"},
		{"all are others", "A B", "X Y Z", "X0 Y1 Z2"},
		{"copies", "A A B", "A B", "A0 B2"},
		{"one for many", "B", "A B C", "B0 A1 C2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			list := func(subjects string) (items []mailbox.Item) {
				other := letter()
				other.MessageID = "<other@example.org>"
				items = append(items, mailbox.Item{ID: "other", Properties: other})
				for i, s := range strings.Fields(subjects) {
					p := letter()
					p.Subject = s
					items = append(items, mailbox.Item{ID: mailbox.ItemID(fmt.Sprint(i)), Properties: p})
				}
				return items
			}
			source, target := mailbox.Keys(list(test.source)), mailbox.Keys(list(test.target))
			mailbox.Align(source, target)
			var got []string
			for _, it := range target {
				if it.ID != "other" {
					got = append(got, fmt.Sprint(it.Subject, it.Key.Ordinal))
				} else if it.Key.Ordinal != 0 {
					t.Errorf("an item that has no equal is numbered %d", it.Key.Ordinal)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("numbered %q, want %q", got, test.want)
			}
			if !slices.IsSortedFunc(target, func(a, b mailbox.Keyed) int { return a.Key.Compare(b.Key) }) {
				t.Error("the list is not sorted any more")
			}
		})
	}
}
