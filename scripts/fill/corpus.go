// Package fill puts mail into mailboxes: a user's own, or real messages out of the test data of Go modules.
package fill

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// corpora are modules whose test data is real mail, with the folder it is in. Each is pinned: the first by this module,
// the second by a module of its own, of which nothing is built.
var corpora = []struct{ module, in, folder string }{
	{"github.com/jhillyerd/enmime/v2", ".", "testdata"},
	{"github.com/ProtonMail/gluon", "scripts/corpus", "tests/testdata"},
}

// Real returns the real messages that the modules hold. root is the repository. What a module does not have is said in
// absent.
func Real(ctx context.Context, root string) (mails []compose.Mail, absent []string, err error) {
	for _, c := range corpora {
		dir, err := moduleDir(ctx, filepath.Join(root, c.in), c.module)
		if err != nil {
			absent = append(absent, fmt.Sprintf("%s: %v", c.module, err))
			continue
		}
		found, _, err := From(filepath.Join(dir, c.folder))
		if err != nil {
			return nil, nil, fmt.Errorf("read mail of %s: %w", c.module, err)
		}
		for _, m := range found {
			m.Folder = nil // the modules' folders mean nothing to a mailbox
			mails = append(mails, m)
		}
	}
	if len(mails) == 0 {
		return nil, absent, fmt.Errorf("find real mail: no module is there: %v", absent)
	}
	return mails, absent, nil
}

// moduleDir downloads a module if need be, as its go.sum pins it, and returns where it is.
func moduleDir(ctx context.Context, in, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = in
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download module: %w: %s", err, bytes.TrimSpace(errs.Bytes()))
	}
	var got struct{ Dir string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", fmt.Errorf("download module: %w", err)
	}
	return got.Dir, nil
}

// From returns all mails below a folder of .eml files, mbox files or Maildirs, and which files are no mail.
func From(dir string) (mails []compose.Mail, passedOver []string, err error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("read folder of mail: %w", err)
	}
	tree := &compose.Tree{Dir: dir}
	for m, err := range tree.Mails() {
		if err != nil {
			return nil, nil, fmt.Errorf("read folder of mail: %w", err)
		}
		mails = append(mails, m)
	}
	return mails, tree.PassedOver, nil
}
