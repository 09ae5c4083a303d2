package mailbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long subject ", 40)
	tests := []struct {
		name   string
		change func(source, target *mailbox.Item)
		want   []string
	}{
		{"nothing", func(_, _ *mailbox.Item) {}, nil},
		{"the ids of the sides", func(s, g *mailbox.Item) { s.ID, s.Change, g.ID, g.Change = "1", "2", "3", "4" }, nil},
		{"class", func(s, _ *mailbox.Item) { s.Class = "IPM.Task" }, []string{"class"}},
		{"class in other letters", func(s, _ *mailbox.Item) { s.Class = "ipm.NOTE" }, nil},
		{"received", func(s, _ *mailbox.Item) { s.Received = s.Received.Add(time.Second) }, []string{"received"}},
		{"a fraction of a second", func(s, _ *mailbox.Item) { s.Received = s.Received.Add(time.Millisecond) }, nil},
		{"received at no time", func(_, g *mailbox.Item) { g.Received = time.Time{} }, []string{"received"}},
		{"submitted", func(_, g *mailbox.Item) { g.Submitted = noon.Add(-time.Hour) }, []string{"submitted"}},
		{"subject", func(_, g *mailbox.Item) { g.Subject = "Other" }, []string{"subject"}},
		{"subject that is a longer one's beginning", func(_, g *mailbox.Item) { g.Subject = "Minutes and more" }, []string{"subject"}},
		{"subject in other letters", func(_, g *mailbox.Item) { g.Subject = "MINUTES" }, []string{"subject"}},
		{"white space and control characters", func(_, g *mailbox.Item) { g.Subject = "\tMinutes\x02 " }, nil},
		{"subject cut at the source", func(s, g *mailbox.Item) { s.Subject, g.Subject = long[:255], long }, nil},
		{"subject cut on the target", func(s, g *mailbox.Item) { s.Subject, g.Subject = long, long[:255] }, nil},
		{"subject cut after a space", func(s, g *mailbox.Item) { s.Subject, g.Subject = long[:259], long }, nil},
		{"subject cut differently", func(s, g *mailbox.Item) { s.Subject, g.Subject = "x"+long[1:255], long }, []string{"subject"}},
		{"subject cut where no listing cuts", func(s, g *mailbox.Item) { s.Subject, g.Subject = long[:200], long }, []string{"subject"}},
		{"characters of two units, cut", func(s, g *mailbox.Item) {
			s.Subject, g.Subject = strings.Repeat("😀", 127), strings.Repeat("😀", 200)
		}, nil},
		{"sender", func(s, _ *mailbox.Item) { s.Sender = "" }, []string{"sender"}},
		{"to", func(s, _ *mailbox.Item) { s.To = "Bob; Cy" }, []string{"to"}},
		{"to, cut", func(s, g *mailbox.Item) { s.To, g.To = long[:255], long }, nil},
		{"cc", func(s, _ *mailbox.Item) { s.Cc = "Cy" }, []string{"cc"}},
		{"bcc", func(_, g *mailbox.Item) { g.Bcc = "Di" }, []string{"bcc"}},
		{"read", func(s, _ *mailbox.Item) { s.Flags = 0 }, []string{"read flag"}},
		{"draft", func(s, _ *mailbox.Item) { s.Flags |= mailbox.FlagUnsent }, []string{"draft flag"}},
		{"other flags, which a server sets by itself", func(s, _ *mailbox.Item) { s.Flags |= mailbox.FlagHasAttachments | 0x2 }, nil},
		{"flagged", func(s, _ *mailbox.Item) { s.FlagStatus = 2 }, []string{"follow-up flag"}},
		{"importance", func(s, _ *mailbox.Item) { s.Importance = 2 }, []string{"importance"}},
		{"attachments", func(s, _ *mailbox.Item) { s.Attachments = true }, []string{"attachments"}},
		{"size within the tolerance", func(s, g *mailbox.Item) { s.Size, g.Size = 1<<20, 1<<20+1<<18+16<<10 }, nil},
		{"size above the tolerance", func(s, g *mailbox.Item) { s.Size, g.Size = 1<<20, 1<<20+1<<18+16<<10+1 }, []string{"size"}},
		{"size below the tolerance", func(s, g *mailbox.Item) { s.Size, g.Size = 1<<20, 1<<20-1<<18-16<<10-1 }, []string{"size"}},
		{"search key, which is not shown to be compared", func(s, _ *mailbox.Item) { s.SearchKey = nil }, nil},
		{"everything", func(_, g *mailbox.Item) { *g = mailbox.Item{Size: 1 << 30} },
			[]string{"class", "received", "submitted", "subject", "sender", "to", "read flag", "importance", "size"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			source, target := mailbox.Item{Size: 1000, Properties: letter()}, mailbox.Item{Size: 1000, Properties: letter()}
			test.change(&source, &target)
			if got := mailbox.Differences(source, target); !slices.Equal(got, test.want) {
				t.Errorf("differences %q, want %q", got, test.want)
			}
		})
	}
}

func TestWireSizeIsWhatABodyWeighs(t *testing.T) {
	t.Parallel()
	for size, want := range map[int64]int64{0: 512, 1: 516, 3: 516, 4: 520, 3_000_000: 4_000_512} {
		if got := mailbox.WireSize(size); got != want {
			t.Errorf("%d bytes weigh %d, want %d", size, got, want)
		}
	}
}

func TestErrorsCanBeToldApart(t *testing.T) {
	t.Parallel()
	var err error = &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: "offset 12"}
	if err.Error() != "corrupt at source: offset 12" || (&mailbox.ItemError{Reason: mailbox.Gone}).Error() != "gone before copy" {
		t.Errorf("item error reads %q", err)
	}
	err = fmt.Errorf("list: %w", &mailbox.Throttled{Until: noon, By: "graph mailbox"})
	if got, ok := errors.AsType[*mailbox.Throttled](err); !ok || got.Error() != "throttled by graph mailbox until 2026-11-02T12:00:00Z" {
		t.Errorf("throttled reads %q", err)
	}
}
