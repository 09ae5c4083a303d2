package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// Verified is how the folders of a mailbox stood when a plan was verified. It lets later passes leave out what has not
// changed since.
type Verified struct {
	Version int                 `json:"v"`
	Mailbox migration.MailboxID `json:"mailbox"`
	Pass    int                 `json:"pass"`
	Plan    migration.PlanID    `json:"plan"`
	Depth   string              `json:"depth"` // how much of an item was compared
	Count   int                 `json:"folders"`
	Folders []VerifiedFolder    `json:"-"`
}

// VerifiedFolder is a folder and its partner. The states are from before they were listed: what has come since then has
// changed since the states.
type VerifiedFolder struct {
	Source      mailbox.FolderID  `json:"source"`
	Target      mailbox.FolderID  `json:"target"`
	SourceState mailbox.SyncState `json:"sourceState"`
	TargetState mailbox.SyncState `json:"targetState"`
	InOrder     bool              `json:"inOrder"` // nothing was missing, skipped, different or in excess
	Counts      migration.Counts  `json:"counts"`
}

// maxFolders is above what a mailbox holds (Exchange Online: 10,000 subfolders of a folder, 300 levels deep).
const maxFolders = 1_000_000

// VerifiedName is the blob name of how a mailbox's folders stood when a plan was verified.
func VerifiedName(m migration.MailboxID, pass int, plan migration.PlanID) string {
	return fmt.Sprintf("%s/%04d/%s/verified", m, pass, plan)
}

// EncodeVerified writes the file. Version and Count are filled in.
func EncodeVerified(v Verified) ([]byte, error) {
	v.Version, v.Count = Version, len(v.Folders)
	return encode(v, v.Folders)
}

// DecodeVerified reads the file and checks it. An error is [ErrDamaged] or the reader's own.
func DecodeVerified(r io.Reader) (Verified, error) {
	l := newLines(r)
	var v Verified
	if err := l.next(&v); err != nil {
		return v, err
	}
	if err := checkHead(v.Version, v.Count, maxFolders); err != nil {
		return v, err
	}
	for range v.Count {
		var f VerifiedFolder
		if err := l.next(&f); err != nil {
			return v, err
		}
		v.Folders = append(v.Folders, f)
	}
	return v, l.end()
}

// Partners are a folder of the source and its partner on the target.
type Partners struct{ Source, Target mailbox.FolderID }

// LastVerified reads how the folders stood when a plan was verified, and how much of an item was compared then. It is empty
// when that plan was not verified or was the last. A file that is damaged or another's is [ErrDamaged].
func LastVerified(ctx context.Context, s blob.Store, m migration.MailboxID, plan migration.Plan) (map[Partners]VerifiedFolder, string, error) {
	r, _, err := s.Open(ctx, VerifiedName(m, plan.Pass, plan.ID), 0)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("open how folders stood: %w", err)
	}
	defer r.Close()
	v, err := DecodeVerified(r)
	if err != nil {
		return nil, "", fmt.Errorf("read how folders stood: %w", err)
	}
	if v.Mailbox != m || v.Plan != plan.ID {
		return nil, "", fmt.Errorf("read how folders stood: %w: line 1: it is another mailbox's or plan's", ErrDamaged)
	}
	out := make(map[Partners]VerifiedFolder, len(v.Folders))
	for _, f := range v.Folders {
		out[Partners{f.Source, f.Target}] = f
	}
	return out, v.Depth, nil
}
