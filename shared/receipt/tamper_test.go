package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/receipt"
)

// wantFault holds an error against where it must be.
func wantFault(t *testing.T, name string, err error, want receipt.Fault) {
	t.Helper()
	f, ok := errors.AsType[*receipt.Fault](err)
	if !ok {
		t.Errorf("%s: %v, want a fault", name, err)
		return
	}
	if f.File != want.File || f.Line != want.Line || f.Last != want.Last || !strings.Contains(f.What, want.What) {
		t.Errorf("%s: %v, want %v", name, f, &want)
	}
}

func lines(b []byte) [][]byte { return slices.Collect(bytes.Lines(b)) }

func join(ls [][]byte) []byte { return bytes.Join(ls, nil) }

// kinds are two bytes to put in place of the byte at i: its neighbour, and each kind of byte in turn.
func kinds(i int, old byte) []byte {
	all := []byte{old ^ 0x20, old ^ 0x80, ' ', '\n', 0, '"', '}', '0', 'a', '\\', '\r'}
	return []byte{old ^ 1, all[i%len(all)]}
}

// Whatever byte of the leaves is changed to whatever kind of byte, the line it is in is named.
func TestEveryByteOfTheLeavesCounts(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	line := 1
	for i, old := range m.leaves {
		for _, b := range kinds(i, old) {
			if b == old {
				continue
			}
			bad := bytes.Clone(m.leaves)
			bad[i] = b
			f, ok := errors.AsType[*receipt.Fault](m.verify(m.file, bad))
			switch {
			case !ok:
				t.Fatalf("byte %d changed from %q to %q: not noticed", i, old, b)
			case f.File != receipt.InLeaves || f.Line != line || f.Last != 0:
				t.Errorf("byte %d of line %d changed from %q to %q: %v", i, line, old, b, f)
			}
		}
		if old == '\n' {
			line++
		}
	}
}

// Whatever byte of the receipt is changed, but for white space, it is refused.
func TestEveryByteOfTheReceiptCounts(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	white := []byte(" \t\r\n")
	for i, old := range m.file {
		for _, b := range kinds(i, old) {
			if b == old || bytes.IndexByte(white, old) >= 0 && bytes.IndexByte(white, b) >= 0 {
				continue
			}
			bad := bytes.Clone(m.file)
			bad[i] = b
			f, ok := errors.AsType[*receipt.Fault](m.verify(bad, m.leaves))
			switch {
			case !ok:
				t.Fatalf("byte %d (…%s…) changed from %q to %q: not noticed", i, m.file[max(0, i-20):min(len(m.file), i+20)], old, b)
			case f.File != receipt.InReceipt || f.Line == 0:
				t.Errorf("byte %d changed from %q to %q: %v", i, old, b, f)
			}
		}
	}
}

// Every field of the receipt, changed so that the file is still in order, and what is said about it.
func TestEveryFieldOfTheReceiptIsSigned(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	const changed = "was changed after it was signed"
	h := bytes.Repeat([]byte("0"), 64)
	for _, tt := range []struct {
		field, from, to string
		want            receipt.Fault
	}{
		{"type", `"mailferry receipt"`, `"other receipt"`, receipt.Fault{Line: 2, What: `type "other receipt" version 1`}},
		{"version", `"version": 1`, `"version": 2`, receipt.Fault{Line: 2, What: "version 2, this version of Mailferry reads"}},
		{"wave", "w20261123-5f0c1a9be2d4", "w20261124-5f0c1a9be2d4", receipt.Fault{What: changed}},
		{"mailbox", "mqk2v7r0c1yx8n5jt3fzd", "mqk2v7r0c1yx8n5jt3fze", receipt.Fault{What: changed}},
		{"source", "ada@old", "bob@old", receipt.Fault{What: changed}},
		{"target", "ada@new", "bob@new", receipt.Fault{What: changed}},
		{"pass", `"pass": 2`, `"pass": 3`, receipt.Fault{What: changed}},
		{"kind", `"cutover"`, `"full"`, receipt.Fault{What: changed}},
		{"kind unknown", `"cutover"`, `"half"`, receipt.Fault{Line: 9, What: `kind: "half"`}},
		{"verified", "21:04:05Z", "21:04:06Z", receipt.Fault{What: changed}},
		{"mailferry", "v0.3.0", "v0.3.1", receipt.Fault{What: changed}},
		{"verify", `"verify": "sample"`, `"verify": "full"`, receipt.Fault{What: changed}},
		{"counts", `"missing": 0`, `"missing": 1`, receipt.Fault{What: changed}},
		{"skipped", `"skipped": 1`, `"skipped": 0`, receipt.Fault{What: changed}},
		{"reason", "too large for the target", "gone before copy", receipt.Fault{What: changed}},
		{"items", `"items": 5`, `"items": 4`, receipt.Fault{Line: 23, What: "items: 4, the tree has 5 leaves"}},
		{"bytes", `"bytes": 1099511777777`, `"bytes": 1099511777778`, receipt.Fault{Line: 25, What: "folders: come to 5 items"}},
		{"root", m.Tree.Root.String(), string(h), receipt.Fault{Line: lineIn(m.file, `"root"`), What: "root: does not follow from the subtrees"}},
		{"subtree", m.Tree.Subtrees[2].String(), string(h), receipt.Fault{Line: lineIn(m.file, `"root"`), What: "root: does not follow"}},
		{"leaves", `"leaves": 5`, `"leaves": 6`, receipt.Fault{Line: 23, What: "items: 5, the tree has 6 leaves"}},
		{"width", `"width": 1`, `"width": 2`, receipt.Fault{Line: lineIn(m.file, `"width"`), What: "width: 2, 5 leaves make it 1"}},
		{"algorithm", `"Ed25519"`, `"none"`, receipt.Fault{What: `algorithm "none", want Ed25519`}},
		{"fingerprint", m.Signature.Key, string(h), receipt.Fault{What: "is not the fingerprint"}},
		{"signature removed", `"value": "`, `"value": "", "valued": "`, receipt.Fault{Line: lineIn(m.file, `"value"`), What: "unknown field"}},
		{"bad hash", `"root": "`, `"root": "X`, receipt.Fault{Line: lineIn(m.file, `"root"`), What: `hash "X`}},
		{"bad key", `"key": "3895`, `"key": "X895`, receipt.Fault{Line: lineIn(m.file, `"key": "3895`), What: `key "X895`}},
		{"bad time", "2026-11-23T", "2026-13-23T", receipt.Fault{Line: lineIn(m.file, `"verified"`), What: "month out of range"}},
		{"bad base64", `"value": "`, `"value": "_`, receipt.Fault{What: "illegal base64"}},
		{"spare bits of base64", `A=="`, `B=="`, receipt.Fault{What: changed}},
		{"line end in base64", `A=="`, `A==\n"`, receipt.Fault{What: changed}},
		{"unknown field", `"pass": 2`, `"pass": 2, "passed": true`, receipt.Fault{Line: 8, What: `unknown field "passed"`}},
		{"wrong type", `"pass": 2`, `"pass": "2"`, receipt.Fault{Line: 8, What: "cannot unmarshal string"}},
		{"field twice", `"pass": 2`, `"pass": 9, "pass": 2`, receipt.Fault{What: changed}},
		{"field in another case", `"pass": 2`, `"Pass": 2`, receipt.Fault{What: changed}},
		{"escaped otherwise", "ada@old", `\u0061da@old`, receipt.Fault{What: changed}},
		{"more after the end", "\n}\n", "\n}\n{}\n", receipt.Fault{Line: lineIn(m.file, `"value"`) + 3, What: "more after the end"}},
		{"not JSON", "{\n", "[\n", receipt.Fault{Line: 2, What: "invalid character"}},
	} {
		bad := bytes.Replace(m.file, []byte(tt.from), []byte(tt.to), 1)
		if bytes.Equal(bad, m.file) {
			t.Fatalf("%s: nothing was changed", tt.field)
		}
		if tt.want.Line == 0 {
			tt.want.Line = lineIn(m.file, `"signature"`)
		}
		tt.want.File = receipt.InReceipt
		wantFault(t, tt.field, m.verify(bad, m.leaves), tt.want)
	}
}

func lineIn(b []byte, what string) int {
	return 1 + bytes.Count(b[:bytes.Index(b, []byte(what))], []byte("\n"))
}

// forge changes a line as one does who knows the format: its leaf hash fits again.
func forge(line []byte, from, to string) []byte {
	const tail = len(`,"leaf":""}`) + 64 + 1
	content := bytes.Replace(bytes.Clone(line[:len(line)-tail]), []byte(from), []byte(to), 1)
	h := sha256.Sum256(append(append([]byte{0}, content...), '}'))
	return fmt.Appendf(content, `,"leaf":"%x"}`+"\n", h)
}

func TestEveryFieldOfALeafCounts(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	good := lines(m.leaves)
	for _, tt := range []struct{ field, from, to, want string }{
		{"folder", `"Inbox"`, `"Inbex"`, ""},
		{"folder path", `"Inbox"`, `"Inbox","A"`, ""},
		{"key", `"key":"`, `"key":"f`, "key"},
		{"class", "IPM.Note", "IPM.Task", ""},
		{"received", "03:04:05Z", "03:04:06Z", ""},
		{"bytes", `"bytes":75000`, `"bytes":75001`, ""},
		{"depth", `"depth":"`, `"depth":"x`, "field depth"},
		{"digest", `"digest":"`, `"digest":"0`, "field digest"},
		{"unknown field", `"class"`, `"extra":1,"class"`, "unknown field"},
		{"field twice", `"class"`, `"bytes":1,"class"`, ""},
		{"white space", `"class":`, `"class": `, ""},
	} {
		bad := slices.Clone(good)
		bad[1] = bytes.Replace(bad[1], []byte(tt.from), []byte(tt.to), 1)
		want := receipt.Fault{File: receipt.InLeaves, Line: 2, What: tt.want}
		if tt.want == "" {
			want.What = "its content was changed: its leaf hash is that of what was signed"
		}
		wantFault(t, tt.field, m.verify(m.file, join(bad)), want)
		bad[1] = forge(good[1], tt.from, tt.to)
		if tt.want == "" {
			want.What = "is not the line that was signed"
		}
		wantFault(t, tt.field+" with its leaf hash", m.verify(m.file, join(bad)), want)
	}
	bad := slices.Clone(good)
	bad[1] = bytes.Replace(bad[1], []byte(`"leaf":"`+string(leafHash(good[1]))), fmt.Appendf(nil, `"leaf":"%064d`, 0), 1)
	wantFault(t, "leaf hash", m.verify(m.file, join(bad)), receipt.Fault{File: receipt.InLeaves, Line: 2, What: "its leaf hash was changed"})
	bad[1] = bytes.Replace(bad[1], []byte("75000"), []byte("75001"), 1)
	wantFault(t, "both", m.verify(m.file, join(bad)), receipt.Fault{File: receipt.InLeaves, Line: 2, What: "its content and its leaf hash do not fit"})
}

func leafHash(line []byte) []byte { return line[len(line)-3-64 : len(line)-3] }

func TestLinesRemovedAddedAndMovedAreNamed(t *testing.T) {
	t.Parallel()
	m := build(t, many(60))
	good := lines(m.leaves)
	fault := func(line int, what string) receipt.Fault {
		return receipt.Fault{File: receipt.InLeaves, Line: line, What: what}
	}
	for i := range good {
		n := i + 1
		removed := slices.Delete(slices.Clone(good), i, n)
		want := fault(n, fmt.Sprintf("is what was signed as line %d: lines were moved, removed or added; the file has 59 lines, 60 were signed", n+1))
		if n == 60 {
			want = fault(60, "missing: the file ends after line 59")
			want.Last = 60
		}
		wantFault(t, fmt.Sprintf("line %d removed", n), m.verify(m.file, join(removed)), want)

		added := slices.Insert(slices.Clone(good), n, forge(good[i], `"bytes":`, `"bytes":1`))
		want = fault(n+1, "is not the line that was signed: it was changed or added; the file has 61 lines, 60 were signed")
		if n == 60 {
			want = fault(61, "is one too many; the file has 61 lines, 60 were signed")
		}
		wantFault(t, fmt.Sprintf("line added after %d", n), m.verify(m.file, join(added)), want)

		doubled := slices.Insert(slices.Clone(good), n, good[i])
		if n < 60 {
			wantFault(t, fmt.Sprintf("line %d doubled", n), m.verify(m.file, join(doubled)), fault(n+1, fmt.Sprintf("is what was signed as line %d", n)))
		}
		if n < 60 {
			moved := slices.Clone(good)
			moved[i], moved[n] = moved[n], moved[i]
			wantFault(t, fmt.Sprintf("lines %d and %d swapped", n, n+1), m.verify(m.file, join(moved)), fault(n, fmt.Sprintf("is what was signed as line %d: lines were moved", n+1)))
		}
	}
}

// Above 1,024 items a line that is forged with its leaf hash is named to within a subtree; all else still exactly.
func TestLargeMailboxesNameAFewLines(t *testing.T) {
	t.Parallel()
	m := build(t, many(5000)) // subtrees of 8
	good := lines(m.leaves)
	for _, i := range []int{0, 7, 8, 1234, 4991, 4992, 4999} {
		first, last := i/8*8+1, min(i/8*8+8, 5000)
		at := func(what string) receipt.Fault {
			return receipt.Fault{File: receipt.InLeaves, Line: first, Last: last, What: what}
		}
		bad := slices.Clone(good)
		bad[i] = forge(good[i], `"bytes":`, `"bytes":1`)
		wantFault(t, fmt.Sprintf("line %d forged", i+1), m.verify(m.file, join(bad)), at("one of these is not the line that was signed"))

		bad[i] = bytes.Replace(good[i], []byte(`"bytes":`), []byte(`"bytes":1`), 1)
		wantFault(t, fmt.Sprintf("line %d changed", i+1), m.verify(m.file, join(bad)),
			receipt.Fault{File: receipt.InLeaves, Line: i + 1, What: "its content was changed"})

		bad[i] = bytes.Replace(good[i], leafHash(good[i]), bytes.Repeat([]byte("0"), 64), 1)
		wantFault(t, fmt.Sprintf("leaf hash %d changed", i+1), m.verify(m.file, join(bad)),
			receipt.Fault{File: receipt.InLeaves, Line: i + 1, What: "its leaf hash was changed"})

		removed := slices.Delete(slices.Clone(good), i, i+1)
		want := at("one of these is not the line that was signed; the file has 4999 lines, 5000 were signed")
		if last == 5000 {
			want = at("1 of these missing: the file has 4999 lines, 5000 were signed")
		}
		wantFault(t, fmt.Sprintf("line %d removed", i+1), m.verify(m.file, join(removed)), want)

		if i%8 == 0 {
			swapped := slices.Clone(good)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			wantFault(t, fmt.Sprintf("line %d swapped", i+1), m.verify(m.file, join(swapped)),
				receipt.Fault{File: receipt.InLeaves, Line: i + 2, What: "comes before the line above it in order"})
		}
	}
	added := append(slices.Clone(good), forge(good[4999], `"bytes":`, `"bytes":1`))
	wantFault(t, "line added", m.verify(m.file, join(added)), receipt.Fault{File: receipt.InLeaves, Line: 5001, What: "is one too many"})
	wantFault(t, "half the file", m.verify(m.file, join(good[:2500])), receipt.Fault{File: receipt.InLeaves, Line: 2497, Last: 5000, What: "2500 of these missing"})
	wantFault(t, "no lines", m.verify(m.file, nil), receipt.Fault{File: receipt.InLeaves, Line: 1, Last: 5000, What: "missing: the file ends after line 0"})
}

func TestFilesThatWereCutOrRewritten(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	at := func(line int, what string) receipt.Fault {
		return receipt.Fault{File: receipt.InLeaves, Line: line, What: what}
	}
	wantFault(t, "no last line end", m.verify(m.file, bytes.TrimSuffix(m.leaves, []byte("\n"))), at(5, "ends in the middle of the line"))
	wantFault(t, "cut", m.verify(m.file, m.leaves[:len(m.leaves)-20]), at(5, "ends in the middle of the line"))
	wantFault(t, "carriage returns", m.verify(m.file, bytes.ReplaceAll(m.leaves, []byte("\n"), []byte("\r\n"))), at(1, "fetch the file again"))
	wantFault(t, "byte order mark", m.verify(m.file, append([]byte("\xEF\xBB\xBF"), m.leaves...)), at(1, "invalid character"))
	wantFault(t, "endless line", m.verify(m.file, bytes.Repeat([]byte("x"), 2<<20)), at(1, "is longer than 1048576 bytes"))
	wantFault(t, "empty line", m.verify(m.file, append([]byte("\n"), m.leaves...)), at(1, "the line was cut or written anew"))
	wantFault(t, "another file", m.verify(m.file, []byte("source,target\na,b\n")), at(1, "the line was cut or written anew"))
	var f *receipt.Fault
	if err := m.verify(m.file[:len(m.file)/2], m.leaves); !errors.As(err, &f) || f.File != receipt.InReceipt || f.Line == 0 {
		t.Errorf("half a receipt: %v", err)
	}
}

func TestOnlyATrustedKeyCounts(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	other := signer(t, 8)
	_, err := receipt.Verify(m.file, bytes.NewReader(m.leaves), []ed25519.PublicKey{other.Public()})
	if !errors.Is(err, receipt.ErrUnknownKey) || !strings.Contains(err.Error(), m.Signature.Key) {
		t.Errorf("another key is trusted: %v", err)
	}
	if err := (made{}).verify(m.file, m.leaves); !errors.Is(err, receipt.ErrUnknownKey) {
		t.Errorf("no key is trusted: %v", err)
	}
	if _, err := receipt.Verify(m.file, bytes.NewReader(m.leaves), append(m.trusted, other.Public())); err != nil {
		t.Errorf("two keys are trusted: %v", err)
	}
	// Another key's signature under the trusted key's name, and the trusted key's signature under another name.
	forged, err := other.Sign(m.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]receipt.Signature{
		"another's value":  {Algorithm: receipt.Algorithm, Key: m.Signature.Key, Public: m.Signature.Public, Value: forged.Signature.Value},
		"another's public": {Algorithm: receipt.Algorithm, Key: forged.Signature.Key, Public: forged.Signature.Public, Value: m.Signature.Value},
		"none":             {},
		"no public":        {Algorithm: receipt.Algorithm, Key: m.Signature.Key, Value: m.Signature.Value},
	} {
		r := m.Receipt
		r.Signature = s
		file, err := receipt.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		f, ok := errors.AsType[*receipt.Fault](m.verify(file, m.leaves))
		if !ok || f.File != receipt.InReceipt || errors.Is(f, receipt.ErrUnknownKey) {
			t.Errorf("%s: %v", name, f)
		}
	}
}

// A receipt whose maker summed wrongly is refused though its signature and its tree are good.
func TestSumsMustFollowFromTheLeaves(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	k := signer(t, 7)
	resigned := func(change func(*receipt.Receipt)) error {
		r := m.Receipt
		r.Folders, r.Classes = slices.Clone(r.Folders), slices.Clone(r.Classes)
		change(&r)
		r, err := k.Sign(r)
		if err != nil {
			t.Fatal(err)
		}
		file, err := receipt.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		return m.verify(file, m.leaves)
	}
	wantFault(t, "folders", resigned(func(r *receipt.Receipt) { r.Folders[0].Bytes--; r.Folders[1].Bytes++ }),
		receipt.Fault{File: receipt.InReceipt, What: `folder "Inbox": 2 items of 149999 bytes, the leaves have 2 of 150000`})
	wantFault(t, "classes", resigned(func(r *receipt.Receipt) { r.Classes[0].Items--; r.Classes[1].Items++ }),
		receipt.Fault{File: receipt.InReceipt, What: `class "IPM.Appointment": 0 items`})
	wantFault(t, "folder's name", resigned(func(r *receipt.Receipt) { r.Folders[0].Folder = []string{"Sent"} }),
		receipt.Fault{File: receipt.InLeaves, Line: 1, What: "folder or class that the receipt does not have"})
	if err := resigned(func(r *receipt.Receipt) { r.Verified = r.Verified.Add(time.Second) }); err != nil {
		t.Errorf("another time, signed again: %v", err)
	}
}
