package manifest_test

import (
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
)

func readBackFiles() format[manifest.ReadBacks] {
	return format[manifest.ReadBacks]{"testdata/readbacks.manifest", manifest.EncodeReadBacks, manifest.DecodeReadBacks}
}

func readBacks() manifest.ReadBacks {
	return manifest.ReadBacks{Mailbox: "m0123456789abcdefghij", Release: "v1", Items: []manifest.ReadBack{
		{Item: manifest.IDOfContent("target", mailbox.Item{ID: "AAMk=", Change: "CQAA"}), Digest: strings.Repeat("0a", 32), Recipients: 2, Attachments: 1, Bytes: 1234},
		{Item: manifest.IDOfContent("source", mailbox.Item{ID: "AAMl=", Change: "CQAB"}), Digest: strings.Repeat("0b", 32), Bytes: 99},
	}}
}

func TestReadBacksAreTheGoldenOnes(t *testing.T) {
	t.Parallel()
	want := readBacks()
	want.Version, want.Count = 1, 2
	readBackFiles().isGolden(t, readBacks(), want)
}

func TestDamageOfReadBacksIsNamed(t *testing.T) {
	t.Parallel()
	good := string(readBackFiles().file(t))
	lines := strings.SplitAfter(good, "\n")
	readBackFiles().names(t, []damage{
		{"nothing", "", "line 1: file ends early"},
		{"an item left out", lines[0] + lines[1] + lines[3], "line 3: not a content"}, // the end is taken for an item
		{"the end left out", lines[0] + lines[1] + lines[2], "line 4: file ends early"},
		{"a size changed", strings.Replace(good, `"bytes":99`, `"bytes":98`, 1), "line 4: checksum"},
		{"a digest changed", strings.Replace(good, "0b0b", "0c0b", 1), "line 4: checksum"},
		{"more after the end", good + lines[1], "line 5: more after the end"},
		{"a later version", sign(`{"v":2,"items":0}`), "line 1: version 2"},
		{"too many items", sign(`{"v":1,"items":1000001}`), "line 1"},
		{"a short digest", sign(`{"v":1,"items":1}`, `{"item":"`+strings.Repeat("0", 32)+`","digest":"ab","bytes":1}`), "line 2: not a content"},
		{"a short name", sign(`{"v":1,"items":1}`, `{"item":"00","digest":"`+strings.Repeat("0", 64)+`","bytes":1}`), "line 2: not a content"},
		{"negative recipients", sign(`{"v":1,"items":1}`, `{"item":"`+strings.Repeat("0", 32)+`","digest":"`+strings.Repeat("0", 64)+`","recipients":-1}`), "line 2: not a content"},
		{"negative attachments", sign(`{"v":1,"items":1}`, `{"item":"`+strings.Repeat("0", 32)+`","digest":"`+strings.Repeat("0", 64)+`","attachments":-1}`), "line 2: not a content"},
		{"a negative size", sign(`{"v":1,"items":1}`, `{"item":"`+strings.Repeat("0", 32)+`","digest":"`+strings.Repeat("0", 64)+`","bytes":-1}`), "line 2: not a content"},
	}...)
}

// The name of a content follows from the whole id and change key, case and all.
func TestIDOfContent(t *testing.T) {
	t.Parallel()
	seen := map[manifest.ContentID]mailbox.Item{}
	flags := func(read, flagged int32) mailbox.Properties {
		return mailbox.Properties{Flags: read, FlagStatus: flagged}
	}
	for _, side := range []string{"source", "target"} {
		for _, it := range []mailbox.Item{{ID: "AAMk", Change: "CQ"}, {ID: "aamk", Change: "CQ"}, {ID: "AAMk", Change: "cq"}, {ID: "AAM", Change: "kCQ"},
			{ID: "AAMk", Change: "CQ", Properties: flags(1, 0)}, {ID: "AAMk", Change: "CQ", Properties: flags(0, 1)}} {
			id := manifest.IDOfContent(side, it)
			if was, twice := seen[id]; twice || len(id) != 32 {
				t.Errorf("%+v and %+v are both %q", it, was, id)
			}
			seen[id] = it
		}
	}
	if id := manifest.IDOfContent("target", mailbox.Item{ID: "AAMk"}); id != "" {
		t.Errorf("without a change key it is %q", id)
	}
}

func FuzzDecodeReadBacks(f *testing.F) {
	readBackFiles().fuzz(f, sign(`{"v":1,"items":0}`), sign(`{"v":1,"items":1}`, `{}`), sign(`{"v":1,"items":100000}`))
}
