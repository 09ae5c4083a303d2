package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/receipt"
)

var update = flag.Bool("update", false, "write the golden files anew")

// signer is a key for tests: its seed is 32 times the byte.
func signer(t testing.TB, seed byte) receipt.SigningKey {
	t.Helper()
	k, err := receipt.ParseKey(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func head() receipt.Receipt {
	return receipt.Receipt{
		Wave: "w20261123-5f0c1a9be2d4", Mailbox: "mqk2v7r0c1yx8n5jt3fzd", Source: "ada@old.example", Target: "ada@new.example",
		Pass: 2, Kind: migration.CutoverPass, Verified: time.Date(2026, 11, 23, 21, 4, 5, 600, time.UTC), Mailferry: "v0.3.0",
		Verify: "sample", Counts: migration.Counts{Source: 6, Target: 6, Match: 5, Skipped: 1, Own: 1},
		Skipped: []receipt.Skip{{Folder: []string{"Inbox"}, Key: key("skipped", 0), Class: "IPM.Note",
			Received: time.Date(2019, 2, 3, 4, 5, 6, 0, time.UTC), Size: 157_286_401, Reason: mailbox.TooBig}},
	}
}

func key(of string, ordinal int) mailbox.Key {
	sum := sha256.Sum256([]byte(of))
	return mailbox.Key{Identity: mailbox.Identity(sum[:16]), Ordinal: ordinal}
}

func digest(of string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(of))) }

// few are leaves with everything that is awkward in them.
func few() []receipt.Leaf {
	zone := time.FixedZone("CET", 3600)
	leaves := []receipt.Leaf{
		{Folder: []string{"Inbox"}, Key: key("a", 0), Class: "IPM.Note", Received: time.Date(2026, 1, 2, 4, 4, 5, 6, zone), Bytes: 75_000, Depth: receipt.Content, Digest: digest("a")},
		{Folder: []string{"Inbox"}, Key: key("a", 1), Class: "IPM.Note", Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Bytes: 75_000, Depth: receipt.Listing, Digest: digest("b")},
		{Folder: []string{"Inbox", "R&D <2026> \"x\""}, Key: key("c", 0), Class: "IPM.Note.SMIME", Bytes: 0, Depth: receipt.Content, Digest: digest("c")},
		{Folder: []string{"Kalender"}, Key: key("d", 0), Class: "IPM.Appointment", Received: time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC), Bytes: 1, Depth: receipt.Listing, Digest: digest("d")},
		{Folder: []string{"Zürich 東京 \u2028\x7f"}, Key: key("e", 0), Class: "IPM.Note", Received: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Bytes: 1 << 40, Depth: receipt.Content, Digest: digest("e")},
	}
	slices.SortFunc(leaves, receipt.Leaf.Compare)
	return leaves
}

// many are n leaves in folders of 100.
func many(n int) []receipt.Leaf {
	leaves := make([]receipt.Leaf, n)
	for i := range leaves {
		leaves[i] = receipt.Leaf{Folder: []string{"Inbox", fmt.Sprintf("%05d", i/100)}, Key: key(fmt.Sprint(i), 0), Class: "IPM.Note",
			Received: time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC), Bytes: int64(i), Depth: receipt.Content, Digest: digest(fmt.Sprint(i))}
	}
	slices.SortFunc(leaves, receipt.Leaf.Compare)
	return leaves
}

func each(leaves []receipt.Leaf) iter.Seq2[receipt.Leaf, error] {
	return func(yield func(receipt.Leaf, error) bool) {
		for _, l := range leaves {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// made is a signed receipt with its files.
type made struct {
	receipt.Receipt
	file, leaves []byte
	trusted      []ed25519.PublicKey
}

func build(t testing.TB, leaves []receipt.Leaf) made {
	t.Helper()
	h := head()
	var b bytes.Buffer
	r, err := receipt.Build(h, each(leaves), &b)
	if err != nil {
		t.Fatal(err)
	}
	k := signer(t, 7)
	if r, err = k.Sign(r); err != nil {
		t.Fatal(err)
	}
	file, err := receipt.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return made{r, file, b.Bytes(), []ed25519.PublicKey{k.Public()}}
}

func (m made) verify(file, leaves []byte) error {
	_, err := receipt.Verify(file, bytes.NewReader(leaves), m.trusted)
	return err
}

func TestAnyoneCanCheckAReceipt(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	got, err := receipt.Verify(m.file, bytes.NewReader(m.leaves), m.trusted)
	if err != nil {
		t.Fatal(err)
	}
	if got.Items != 5 || got.Bytes != 150_001+1<<40 || got.Tree.Leaves != 5 || got.Tree.Width != 1 || len(got.Tree.Subtrees) != 5 {
		t.Errorf("items %d, bytes %d, tree of %d leaves", got.Items, got.Bytes, got.Tree.Leaves)
	}
	if len(got.Folders) != 4 || got.Folders[0].Items != 2 || got.Folders[0].Bytes != 150_000 {
		t.Errorf("folders: %+v", got.Folders)
	}
	if len(got.Classes) != 3 || got.Classes[1].Class != "IPM.Note" || got.Classes[1].Items != 3 {
		t.Errorf("classes: %+v", got.Classes)
	}
	if !got.Verified.Equal(time.Date(2026, 11, 23, 21, 4, 5, 0, time.UTC)) {
		t.Errorf("verified %s, want whole seconds", got.Verified)
	}
}

func TestAnEmptyMailboxHasAReceiptToo(t *testing.T) {
	t.Parallel()
	m := build(t, nil)
	if err := m.verify(m.file, m.leaves); err != nil {
		t.Error(err)
	}
	if err := m.verify(m.file, []byte("x\n")); err == nil {
		t.Error("a leaf in an empty mailbox is taken")
	}
}

func TestTheSameItemsMakeTheSameFiles(t *testing.T) {
	t.Parallel()
	a, b := build(t, few()), build(t, few())
	if !bytes.Equal(a.file, b.file) || !bytes.Equal(a.leaves, b.leaves) {
		t.Error("two receipts over the same items differ")
	}
}

// White space is not signed: editors and mail change it.
func TestAReceiptSurvivesFormatting(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	for name, file := range map[string][]byte{
		"carriage returns": bytes.ReplaceAll(m.file, []byte("\n"), []byte("\r\n")),
		"tabs":             bytes.ReplaceAll(m.file, []byte("\n  "), []byte("\n\t")),
		"no last line end": bytes.TrimSpace(m.file),
		"blank lines":      append([]byte("\n\n"), m.file...),
	} {
		if err := m.verify(file, m.leaves); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAReceiptIsCheckedWithoutUs(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "jq", "openssl", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	leaves := few()
	leaves[4].Folder = []string{"Zürich 東京"} // jq writes some control characters in another way
	m := build(t, leaves)
	check := func(file []byte) (string, error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "R.json"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("sh", "-ec", `
			jq -cj 'del(.signature.value)' R.json > payload
			jq -r .signature.value  R.json | base64 -d > value
			jq -r .signature.public R.json | base64 -d | openssl pkey -pubin -inform DER -out key.pem
			openssl pkeyutl -verify -rawin -pubin -inkey key.pem -in payload -sigfile value
			openssl pkey -pubin -in key.pem -outform DER | sha256sum`)
		c.Dir = dir
		out, err := c.CombinedOutput()
		return string(out), err
	}
	out, err := check(m.file)
	if err != nil || !strings.Contains(out, "Verified Successfully") || !strings.Contains(out, m.Signature.Key) {
		t.Errorf("good receipt: %v\n%s", err, out)
	}
	if out, err := check(bytes.Replace(m.file, []byte(`"pass": 2`), []byte(`"pass": 3`), 1)); err == nil {
		t.Errorf("tampered receipt is taken:\n%s", out)
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	m := build(t, few())
	for name, got := range map[string][]byte{"golden.receipt.json": m.file, "golden.leaves.jsonl": m.leaves, "golden.pem": receipt.PublicPEM(m.trusted[0])} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is written now:\n%s", name, got)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*receipt.Leaf)) []receipt.Leaf {
		leaves := few()
		f(&leaves[1])
		return leaves
	}
	for _, tt := range []struct {
		name   string
		leaves []receipt.Leaf
		want   string
	}{
		{"keys out of order", []receipt.Leaf{few()[1], few()[0]}, "leaf 2: key"},
		{"folders out of order", []receipt.Leaf{few()[3], few()[0]}, "sort leaves by folder, then key"},
		{"no folder", change(func(l *receipt.Leaf) { l.Folder = nil })[1:], "leaf 1: field folder: is empty"},
		{"negative size", change(func(l *receipt.Leaf) { l.Bytes = -1 }), "leaf 2: field bytes: -1"},
		{"no depth", change(func(l *receipt.Leaf) { l.Depth = "" }), "leaf 2: field depth"},
		{"no digest", change(func(l *receipt.Leaf) { l.Digest = "" }), "leaf 2: field digest"},
		{"upper-case digest", change(func(l *receipt.Leaf) { l.Digest = strings.ToUpper(l.Digest) }), "leaf 2: field digest"},
		{"line too long", change(func(l *receipt.Leaf) { l.Folder = []string{"Inbox", strings.Repeat("x", 1<<20)} })[1:2], "leaf 1: line of"},
	} {
		_, err := receipt.Build(head(), each(tt.leaves), &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestBuildRefusesAHeadThatSaysTooLittle(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*receipt.Receipt){
		"wave":      func(r *receipt.Receipt) { r.Wave = "" },
		"mailbox":   func(r *receipt.Receipt) { r.Mailbox = "" },
		"source":    func(r *receipt.Receipt) { r.Source = "" },
		"target":    func(r *receipt.Receipt) { r.Target = "" },
		"pass":      func(r *receipt.Receipt) { r.Pass = 0 },
		"kind":      func(r *receipt.Receipt) { r.Kind = "half" },
		"verified":  func(r *receipt.Receipt) { r.Verified = time.Time{} },
		"mailferry": func(r *receipt.Receipt) { r.Mailferry = "" },
		"verify":    func(r *receipt.Receipt) { r.Verify = "" },
		"skipped":   func(r *receipt.Receipt) { r.Skipped = make([]receipt.Skip, receipt.MaxSkipped+1) },
	} {
		h := head()
		change(&h)
		if _, err := receipt.Build(h, each(few()), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type brokenDisk struct{}

var errDisk = errors.New("disk is full")

func (brokenDisk) Write([]byte) (int, error) { return 0, errDisk }

func TestBuildPassesErrorsOn(t *testing.T) {
	t.Parallel()
	errList := errors.New("listing broke off")
	_, err := receipt.Build(head(), func(yield func(receipt.Leaf, error) bool) {
		_ = yield(few()[0], nil) && yield(receipt.Leaf{}, errList)
	}, &bytes.Buffer{})
	if !errors.Is(err, errList) {
		t.Errorf("iterator: %v", err)
	}
	if _, err := receipt.Build(head(), each(few()), brokenDisk{}); !errors.Is(err, errDisk) {
		t.Errorf("small file: %v", err)
	}
	if _, err := receipt.Build(head(), each(many(100)), brokenDisk{}); !errors.Is(err, errDisk) {
		t.Errorf("large file: %v", err)
	}
}

func TestListingDigestSeesWhatAListingShows(t *testing.T) {
	t.Parallel()
	base := mailbox.Properties{Class: "IPM.Note", Subject: "x"}
	seen := map[string]string{receipt.ListingDigest(base): "base"}
	for name, change := range map[string]func(*mailbox.Properties){
		"class":       func(p *mailbox.Properties) { p.Class = "IPM.Task" },
		"search key":  func(p *mailbox.Properties) { p.SearchKey = []byte{1} },
		"message ID":  func(p *mailbox.Properties) { p.MessageID = "<a@b>" },
		"subject":     func(p *mailbox.Properties) { p.Subject = "x\nsender: \"y\"" },
		"sender":      func(p *mailbox.Properties) { p.Sender = "y" },
		"submitted":   func(p *mailbox.Properties) { p.Submitted = time.Unix(1, 0) },
		"received":    func(p *mailbox.Properties) { p.Received = time.Unix(1, 0) },
		"to":          func(p *mailbox.Properties) { p.To = "y" },
		"cc":          func(p *mailbox.Properties) { p.Cc = "y" },
		"bcc":         func(p *mailbox.Properties) { p.Bcc = "y" },
		"read":        func(p *mailbox.Properties) { p.Flags = mailbox.FlagRead },
		"unsent":      func(p *mailbox.Properties) { p.Flags = mailbox.FlagUnsent },
		"flag status": func(p *mailbox.Properties) { p.FlagStatus = 2 },
		"importance":  func(p *mailbox.Properties) { p.Importance = 2 },
		"attachments": func(p *mailbox.Properties) { p.Attachments = true },
	} {
		p := base
		change(&p)
		d := receipt.ListingDigest(p)
		if other, twice := seen[d]; twice {
			t.Errorf("%s makes the digest of %s", name, other)
		}
		seen[d] = name
	}
	same := base
	same.Class, same.Flags = "ipm.note", mailbox.FlagHasAttachments
	if seen[receipt.ListingDigest(same)] != "base" {
		t.Error("the case of the class or a flag that both sides set by themselves changes the digest")
	}
	const want = "3e5671a6"
	if got := receipt.ListingDigest(base); !strings.HasPrefix(got, want) {
		t.Errorf("digest %s, want %s…: digests are kept and compared across versions", got, want)
	}
}

func BenchmarkVerify100k(b *testing.B) {
	m := build(b, many(100_000))
	b.SetBytes(int64(len(m.leaves)))
	for b.Loop() {
		if err := m.verify(m.file, m.leaves); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild100k(b *testing.B) {
	leaves := many(100_000)
	for b.Loop() {
		var out bytes.Buffer
		if _, err := receipt.Build(head(), each(leaves), &out); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAFileThatIsCutSaysSo(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile("testdata/golden.receipt.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"empty": {nil, "it is empty"},
		"half":  {whole[:len(whole)/2], "it ends in the middle"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := receipt.Decode(tt.file)
			fault, ok := errors.AsType[*receipt.Fault](err)
			if !ok || fault.What != tt.want || fault.Line < 1 {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
