package submitter

import (
	"errors"
	"strings"
	"testing"
)

// Whatever a file holds, it is a batch or a list of faults that say where and what.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{
		"source,target\na@old.example,a@new.example\n",
		"\xEF\xBB\xBFTarget;Source;Start\r\nb@new.example;b@old.example;2026-12-01T22:00:00Z\r\n",
		"source\ttarget\tcutover\n\"c@old.example\"\tc@new.example\tsoon\n",
		"source,target\n\"a@old.example,a@new.example\n", "source,source\n", "", "\n\n", "source,target\n,,\n\"\"\n", "\xff\xfes\x00",
		`{"mailboxes":[{"source":"a@old.example","target":"a@new.example"}],"spread":3600}`,
		`{"mailboxes":[{"source":1}]}`, `{"mailboxes":null} {}`, `[]`, `{"start":"2026"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func() (Batch, error){
			func() (Batch, error) { return ParseCSV(strings.NewReader(s)) },
			func() (Batch, error) { return ParseJSON(strings.NewReader(s)) },
		} {
			b, err := parse()
			if err == nil {
				for _, l := range b.Mailboxes {
					if l.Source == "" || l.Target == "" || strings.ContainsAny(l.Source+l.Target, " \r\n<>\"") {
						t.Errorf("accepted as a mailbox: %+v", l)
					}
				}
				continue
			}
			bad, ok := errors.AsType[*BatchError](err)
			if !ok || len(bad.Faults) == 0 {
				t.Fatalf("error %v lists no faults", err)
			}
			for _, x := range bad.Faults {
				if x.What == "" {
					t.Errorf("a fault that does not say what is wrong: %+v", x)
				}
			}
		}
	})
}
