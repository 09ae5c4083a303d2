package manifest_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
)

var update = flag.Bool("update", false, "write the golden file anew")

func shards() format[manifest.Manifest] {
	return format[manifest.Manifest]{"testdata/shard.manifest", manifest.Encode, manifest.Decode}
}

func shard() manifest.Manifest {
	at := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	return manifest.Manifest{
		Mailbox: "m0123456789abcdefghij", Pass: 2, Plan: "p1", Shard: 7, Bytes: 161_001_234,
		Folders: []manifest.Folder{{Target: "AAMk=", Path: []string{"Posteingang"}}, {Target: "AAMm=", Path: []string{"Posteingang", "Kunden & <Co>"}}},
		Items: []manifest.Item{
			{Key: mailbox.Key{Identity: mailbox.Identity{1}}, Source: "AAE1=", Size: 1234, Class: "IPM.Note", Received: at},
			{Key: mailbox.Key{Identity: mailbox.Identity{1}, Ordinal: 1}, Source: "AAE2=", Size: 1000, Before: 2, Class: "IPM.Note", Received: at},
			{Key: mailbox.Key{Identity: mailbox.Identity{2}}, Source: "AAE3=", Folder: 1, Size: 161_000_000, Skip: mailbox.TooBig, Class: "IPM.Note"},
			{Key: mailbox.Key{Identity: mailbox.Identity{3}}, Source: "AAE4=", Folder: 1, Replace: "AAT9=", Change: "CQAA", Class: "IPM.Task", Received: at.Add(time.Hour)},
		},
	}
}

func TestManifestIsTheGoldenOne(t *testing.T) {
	t.Parallel()
	want := shard()
	want.Version, want.Count = 1, 4
	shards().isGolden(t, shard(), want)
}

func TestAnEmptyManifest(t *testing.T) {
	t.Parallel()
	b, err := manifest.Encode(manifest.Manifest{Mailbox: "m", Pass: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := manifest.Decode(bytes.NewReader(b)); err != nil || m.Mailbox != "m" || len(m.Items) != 0 {
		t.Errorf("read as %+v, err %v", m, err)
	}
}

// sign puts the checksum of the lines above below them.
func sign(lines ...string) string {
	above := strings.Join(lines, "\n") + "\n"
	return fmt.Sprintf("%s{\"sha256\":\"%x\"}\n", above, sha256.Sum256([]byte(above)))
}

func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	good := string(shards().file(t))
	lines := strings.Split(strings.TrimSuffix(good, "\n"), "\n")
	head := func(items int) string { return fmt.Sprintf(`{"v":1,"items":%d,"folders":[{"target":"a"}]}`, items) }
	shards().names(t, []damage{
		{"nothing", "", "line 1: file ends early"},
		{"only a header", lines[0] + "\n", "line 2: file ends early"},
		{"an item left out", strings.Replace(good, lines[2]+"\n", "", 1), "line 6: file ends early"}, // the end is taken for an item
		{"the end left out", strings.Join(lines[:5], "\n") + "\n", "line 6: file ends early"},
		{"cut in a line", good[:len(lines[0])+40], "line 2"},
		{"a header that is no JSON", "x" + good, "line 1"},
		{"an item that is no JSON", strings.Replace(good, lines[3], "}{", 1), "line 4"},
		{"an item changed", strings.Replace(good, `"size":1000`, `"size":1001`, 1), "line 6: checksum"},
		{"an item's key damaged", strings.Replace(good, `"key":"02`, `"key":"zz`, 1), "line 4"},
		{"the header changed", strings.Replace(good, `"pass":2`, `"pass":3`, 1), "line 6: checksum"},
		{"two items swapped", strings.Join([]string{lines[0], lines[2], lines[1], lines[3], lines[4], lines[5]}, "\n"), "line 6: checksum"},
		{"the checksum changed", strings.Replace(good, `"sha256":"`, `"sha256":"0`, 1), "line 6: checksum"},
		{"more after the end", good + lines[1], "line 7: more after the end"},
		{"an empty line after the end", good + "\n", "line 7: more after the end"},
		{"a later version", sign(`{"v":2,"items":0}`), "line 1: version 2"},
		{"a negative count", sign(head(-1)), "line 1"},
		{"too many items", sign(head(100_001)), "line 1"},
		{"fewer items than the header says", sign(head(1)), "line 3"},
		{"a folder that is not there", sign(head(1), `{"key":"`+strings.Repeat("0", 32)+`","folder":1}`), "line 2: folder 1 of 1"},
		{"a negative folder", sign(head(1), `{"key":"`+strings.Repeat("0", 32)+`","folder":-1}`), "line 2: folder -1"},
		{"a line without an end", sign(head(1), `{"class":"`+strings.Repeat("x", 2<<20)+`"}`), "line 2: longer than 1048576 bytes"},
	}...)
}

// A store that breaks off must not be taken for a damaged manifest without its cause.
func TestAReadersErrorStaysItself(t *testing.T) {
	t.Parallel()
	b := shards().file(t)
	broken := errors.New("connection lost")
	for n := range b {
		_, err := manifest.Decode(iotest.DataErrReader(readerOf(b[:n], broken)))
		if !errors.Is(err, broken) || errors.Is(err, manifest.ErrDamaged) {
			t.Fatalf("broken off after %d bytes: err = %v", n, err)
		}
	}
}

func readerOf(b []byte, err error) *breaking { return &breaking{bytes.NewReader(b), err} }

type breaking struct {
	*bytes.Reader
	err error
}

func (r *breaking) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		err = r.err
	}
	return n, err
}

func TestNamesSortAsShardsDo(t *testing.T) {
	t.Parallel()
	if got := manifest.Name("m1", 2, "p1", 30); got != "m1/0002/p1/00030" {
		t.Errorf("name %s", got)
	}
}

func FuzzDecode(f *testing.F) {
	shards().fuzz(f, sign(`{"v":1,"items":0}`), sign(`{"v":1,"items":1,"folders":[{}]}`, `{"key":"`+strings.Repeat("0", 32)+`"}`), sign(`{"v":1,"items":100000}`))
}
