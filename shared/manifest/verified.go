package manifest

import (
	"fmt"
	"io"

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

// BegunName is the blob name of the states from which a verification goes on that a delivery did not finish, by its turn. Only
// folders that it left out are in order there.
func BegunName(m migration.MailboxID, pass int, plan migration.PlanID, turn int) string {
	return fmt.Sprintf("%s/%04d/%s/begun-%05d", m, pass, plan, turn)
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

// Of makes sure that the file is about a plan of a mailbox, and finds its folders by their partners. An error is [ErrDamaged].
func (v Verified) Of(m migration.MailboxID, plan migration.Plan) (map[Partners]VerifiedFolder, error) {
	if v.Mailbox != m || v.Pass != plan.Pass || v.Plan != plan.ID {
		return nil, fmt.Errorf("%w: line 1: it is about another mailbox or plan", ErrDamaged)
	}
	out := make(map[Partners]VerifiedFolder, len(v.Folders))
	for _, f := range v.Folders {
		out[Partners{f.Source, f.Target}] = f
	}
	return out, nil
}
