package copier_test

import (
	"context"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// Settling costs one listing of each folder that an item in doubt is for, and no other.
func TestSettlingListsEachFolderOnce(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	for n, known := range []string{"inbox", "sentitems", "drafts", "deleteditems"} {
		mailboxtest.Fill(t, s.Source, known, n*6, n*6+6)
	}
	s.Begin()
	l := s.Until(migration.CopyQueue)
	n := 0
	s.OnTarget.Import = one(func(_ context.Context, _ mailbox.Stream, do mailboxtest.Do) (mailbox.ItemID, error) {
		if n++; n >= 15 {
			id, err := do()
			if n == 15 && err == nil { // carried out, and nobody learns it
				return "", mailbox.ErrUnknown
			}
			return id, err
		}
		return do()
	})
	s.Hand(l)
	r, _, err := s.Manifests.Open(t.Context(), manifest.Name(l.Message.Mailbox, 1, l.Message.Plan, 0), 0)
	if err != nil {
		t.Fatal(err)
	}
	shard, err := manifest.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	doubtful := map[mailbox.FolderID]bool{}
	for i, it := range groups(t, s, l)[0].Items {
		if !it.Settled() {
			doubtful[shard.Folders[shard.Items[i].Folder].Target] = true
		}
	}
	s.OnTarget.Import = nil
	lists := map[mailbox.FolderID]int{}
	s.OnTarget.List = func(f mailbox.FolderID) error { lists[f]++; return nil }
	s.Hand(s.Until(migration.CopyQueue))
	s.OnTarget.List = nil
	if len(lists) == 0 || len(lists) != len(doubtful) {
		t.Errorf("%d folders listed, want the %d with items in doubt", len(lists), len(doubtful))
	}
	for f, n := range lists {
		if n != 1 || !doubtful[f] {
			t.Errorf("folder %s is listed %d times, in doubt: %t", f, n, doubtful[f])
		}
	}
	s.Finish()
	done(t, s, 24)
}
