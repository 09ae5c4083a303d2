package compose

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mail is one mail as it was found on disk.
type Mail struct {
	Folder []string // names of the folders it lies in, outermost first; nil directly below the root
	Name   string   // file below the root, and in an mbox file the position, for error messages
	Raw    []byte

	Read, Flagged, Answered, Draft bool
}

// Options returns the mail's flags as [MIME] wants them.
func (m Mail) Options() Options {
	return Options{Read: m.Read, Flagged: m.Flagged, Answered: m.Answered, Draft: m.Draft}
}

// Folder yields the mails below dir, as [Tree] does.
func Folder(dir string) iter.Seq2[Mail, error] { return (&Tree{Dir: dir}).Mails() }

// Tree is a directory of mail in any mixture of .eml files, files that begin like a mail, mbox files and Maildirs.
type Tree struct {
	Dir        string
	PassedOver []string // files below Dir that are no mail; filled by Mails
}

// Mails yields every mail in the order of the file names. An error names a file or directory that cannot be read, or a
// mail that is too large; the next mails follow. At most one mail is in memory.
func (t *Tree) Mails() iter.Seq2[Mail, error] {
	t.PassedOver = nil
	return func(yield func(Mail, error) bool) {
		// Every error is yielded; what is returned only ends the walk.
		_ = filepath.WalkDir(t.Dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return more(yield(Mail{}, fmt.Errorf("read folder: %w", err)))
			}
			if e.IsDir() {
				return nil
			}
			return more(t.file(path, e, yield))
		})
	}
}

func more(yes bool) error {
	if yes {
		return nil
	}
	return fs.SkipAll
}

// file yields the mails of one file; false means that no more are wanted.
func (t *Tree) file(path string, e fs.DirEntry, yield func(Mail, error) bool) bool {
	m := t.place(path)
	kind, err := kindOf(path, e)
	if err != nil {
		return yield(Mail{}, fmt.Errorf("read mail %s: %w", m.Name, err))
	}
	switch kind {
	case noMail:
		t.PassedOver = append(t.PassedOver, m.Name)
		return true
	case mboxFile:
		return mboxMails(path, m, yield)
	}
	m.Raw, err = readMail(path)
	if err != nil {
		return yield(Mail{}, fmt.Errorf("read mail %s: %w", m.Name, err))
	}
	if kind == maildirFile {
		m.setMaildirFlags(filepath.Base(path))
	} else {
		m.setHeaderFlags()
	}
	return yield(m, nil)
}

type fileKind uint8

const (
	noMail fileKind = iota
	oneMail
	mboxFile
	maildirFile
)

// kindOf looks at a file's place, name and beginning.
func kindOf(path string, e fs.DirEntry) (fileKind, error) {
	name := strings.ToLower(e.Name())
	if !e.Type().IsRegular() {
		return noMail, nil
	}
	begin, err := beginning(path)
	if err != nil || len(begin) == 0 {
		return noMail, err
	}
	switch {
	case isMaildir(filepath.Dir(path)):
		return maildirFile, nil
	case strings.HasSuffix(name, ".emlx") || strings.HasSuffix(name, ".msg") || strings.HasSuffix(name, ".pst"):
		return noMail, nil // other formats
	case bytes.HasPrefix(begin, []byte("From ")) && !strings.HasSuffix(name, ".eml"):
		return mboxFile, nil
	case strings.HasSuffix(name, ".eml") || looksLikeMail(begin):
		return oneMail, nil
	}
	return noMail, nil
}

// isMaildir says whether dir holds the delivered mails of a Maildir.
func isMaildir(dir string) bool {
	base, sibling := filepath.Base(dir), map[string]string{"cur": "new", "new": "cur"}
	other, ok := sibling[base]
	if !ok {
		return false
	}
	e, err := os.Stat(filepath.Join(filepath.Dir(dir), other))
	return err == nil && e.IsDir()
}

// beginning returns the first bytes of a file.
func beginning(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 8<<10))
	return b, err
}

// looksLikeMail says whether a file begins with a header block that has a field of mail.
func looksLikeMail(b []byte) bool {
	block, _ := split(b)
	h := parseHeader(block)
	for _, name := range []string{"Received", "Return-Path", "Message-Id", "Date", "From", "To", "Subject", "Mime-Version"} {
		if h.first(name) != "" && !bytes.ContainsRune(block, 0) {
			return true
		}
	}
	return false
}

func readMail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if e, err := f.Stat(); err == nil && e.Size() > maxMail {
		return nil, errTooLarge
	}
	return io.ReadAll(io.LimitReader(f, maxMail))
}

var errTooLarge = errors.New("larger than 210 MiB")

// place names the folders that a path stands for.
func (t *Tree) place(path string) Mail {
	rel, err := filepath.Rel(t.Dir, path)
	if err != nil {
		rel = path
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) > 1 && isMaildir(filepath.Dir(path)) {
		parts = slices.Delete(parts, len(parts)-2, len(parts)-1)
	}
	m := Mail{Name: filepath.ToSlash(rel)}
	for _, p := range parts[:len(parts)-1] {
		m.Folder = append(m.Folder, folderNames(p)...)
	}
	return m
}

// folderNames are the folders that a directory stands for: Maildir++ joins levels by dots, mail programs add ".mbox" and
// ".sbd".
func folderNames(dir string) []string {
	if len(dir) > 1 && dir[0] == '.' {
		return strings.FieldsFunc(dir, func(r rune) bool { return r == '.' })
	}
	return []string{strings.TrimSuffix(strings.TrimSuffix(dir, ".mbox"), ".sbd")}
}

// setMaildirFlags reads the letters behind ":2," of a file name; some systems write ";" or "!" for the colon.
func (m *Mail) setMaildirFlags(name string) {
	i := strings.LastIndex(name, "2,")
	if i < 1 || !strings.ContainsRune(":;!", rune(name[i-1])) {
		return
	}
	letters := name[i+2:]
	m.Read = strings.ContainsRune(letters, 'S')
	m.Flagged = strings.ContainsRune(letters, 'F')
	m.Answered = strings.ContainsRune(letters, 'R')
	m.Draft = strings.ContainsRune(letters, 'D')
}

// mboxMails yields the mails of an mbox file, whose name is one more folder.
func mboxMails(path string, at Mail, yield func(Mail, error) bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return yield(Mail{}, fmt.Errorf("read mail %s: %w", at.Name, err))
	}
	defer f.Close()
	base := filepath.Base(path)
	if base != "mbox" || len(at.Folder) == 0 { // X.mbox/mbox is the folder X
		at.Folder = append(at.Folder, strings.TrimSuffix(base, ".mbox"))
	}
	n := 0
	for raw, err := range mbox(bufio.NewReaderSize(f, 64<<10)) {
		n++
		m := at
		m.Name = fmt.Sprintf("%s, mail %d", at.Name, n)
		m.Folder = slices.Clone(at.Folder)
		if err != nil {
			err = fmt.Errorf("read mail %s: %w", m.Name, err)
			m = Mail{}
		}
		m.Raw = raw
		m.setHeaderFlags()
		if !yield(m, err) {
			return false
		}
	}
	return true
}
