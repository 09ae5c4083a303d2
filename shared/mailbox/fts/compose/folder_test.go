package compose

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Tree{Dir: dir}
}

// listing is every mail or error of a tree in one line.
func listing(tr *Tree) (lines []string) {
	for m, err := range tr.Mails() {
		if err != nil {
			lines = append(lines, err.Error())
			continue
		}
		flags := ""
		for i, set := range []bool{m.Read, m.Flagged, m.Answered, m.Draft} {
			if set {
				flags += "RFAD"[i : i+1]
			}
		}
		subject, _, _ := strings.Cut(string(m.Raw), "\n")
		lines = append(lines, fmt.Sprintf("%s | %s | %s | %s", strings.Join(m.Folder, "/"), m.Name, subject, flags))
	}
	return lines
}

func TestFoldersOfMail(t *testing.T) {
	t.Parallel()
	const mail = "\n\nhi\n"
	tr := tree(t, map[string]string{
		"a.eml":                            "Subject: a" + mail,
		"work/b.EML":                       "Subject: b\nX-Unsent: 1" + mail,
		"work/msg_01.txt":                  "Received: by x" + mail,
		"work/readme.txt":                  "Note: this is no mail\n",
		"work/picture.png":                 "\x89PNG",
		"work/c.emlx":                      "12\nSubject: c" + mail,
		"work/empty.eml":                   "",
		"Inbox":                            "From - Fri Mar 1 10:00:00 2024\nSubject: d\nX-Mozilla-Status: 0005" + mail + "\nFrom - Fri Mar 1 10:00:00 2024\nSubject: e" + mail,
		"Inbox.sbd/Sub":                    "From x 10:00\nStatus: RO\nX-Status: AF" + mail,
		"Apple.mbox/mbox":                  "From x 10:00\nSubject: g" + mail,
		"Old.mbox":                         "From x 10:00\nSubject: h" + mail,
		"maildir/cur/1.x:2,FRS":            "Subject: i" + mail,
		"maildir/new/2.x":                  "no header at all",
		"maildir/tmp/3.x":                  "being delivered",
		"maildir/.Sent.2024/cur/4.x:2,DS":  "Subject: k" + mail,
		"maildir/.Sent.2024/new/.keep":     "",
		"maildir/.Sent.2024/maildirfolder": "",
	})
	got := listing(tr)
	want := []string{
		"Apple | Apple.mbox/mbox, mail 1 | Subject: g | ",
		"Inbox | Inbox, mail 1 | Subject: d | RF",
		"Inbox | Inbox, mail 2 | Subject: e | ",
		"Inbox/Sub | Inbox.sbd/Sub, mail 1 | Status: RO | RFA",
		"Old | Old.mbox, mail 1 | Subject: h | ",
		" | a.eml | Subject: a | ",
		"maildir/Sent/2024 | maildir/.Sent.2024/cur/4.x:2,DS | Subject: k | RD",
		"maildir | maildir/cur/1.x:2,FRS | Subject: i | RFA",
		"maildir | maildir/new/2.x | no header at all | ",
		"work | work/b.EML | Subject: b | D",
		"work | work/msg_01.txt | Received: by x | ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("mails\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	over := []string{"maildir/.Sent.2024/maildirfolder", "maildir/.Sent.2024/new/.keep", "maildir/tmp/3.x", "work/c.emlx",
		"work/empty.eml", "work/picture.png", "work/readme.txt"}
	if !slices.Equal(tr.PassedOver, over) {
		t.Errorf("passed over %q", tr.PassedOver)
	}
}

func TestUnreadableFilesAreNamed(t *testing.T) {
	t.Parallel()
	for _, err := range Folder(filepath.Join(t.TempDir(), "none")) {
		if err == nil || !strings.Contains(err.Error(), "none") {
			t.Errorf("a missing folder: %v", err)
		}
	}
	tr := tree(t, map[string]string{"a.eml": "Subject: a\n\n", "c.eml": "Subject: c\n\n"})
	if err := os.WriteFile(filepath.Join(tr.Dir, "b.eml"), []byte("S: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(tr.Dir, "b.eml"), maxMail+1); err != nil {
		t.Fatal(err)
	}
	got := listing(tr)
	if len(got) != 3 || got[1] != "read mail b.eml: larger than 210 MiB" {
		t.Errorf("mails %q", got)
	}
}

func TestNoMoreMailsThanWanted(t *testing.T) {
	t.Parallel()
	tr := tree(t, map[string]string{"a.eml": "Subject: a\n\n", "m": "From x 10:00\n\n1\n\nFrom x 10:00\n\n2\n", "z.eml": "Subject: z\n\n"})
	for want := 1; want < 4; want++ {
		n := 0
		for range tr.Mails() {
			if n++; n == want {
				break
			}
		}
		if n != want {
			t.Errorf("%d mails, want %d", n, want)
		}
	}
}

func TestMbox(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		want       []string
	}{
		{"one", "From a 10:00\nS: 1\n\nhi\n", []string{"S: 1\n\nhi\n"}},
		{"two", "From a 10:00\nS: 1\n\nhi\n\nFrom a 10:00\nS: 2\n\nho\n\n", []string{"S: 1\n\nhi\n", "S: 2\n\nho\n"}},
		{"crlf", "From a 10:00\r\nS: 1\r\n\r\nhi\r\n\r\nFrom a 10:00\r\nS: 2\r\n", []string{"S: 1\r\n\r\nhi\r\n", "S: 2\r\n"}},
		{"quoted", "From a 10:00\n\n>From me\n>>From you\n> From\n", []string{"\n>From me\n"[:1] + "From me\n>From you\n> From\n"}},
		{"text like a separator", "From a 10:00\n\nFrom me to you\n", []string{"\nFrom me to you\n"}},
		{"separator inside a paragraph", "From a 10:00\n\nx\nFrom a 10:00\n", []string{"\nx\nFrom a 10:00\n"}},
		{"separators without time", "From a\nS: 1\n\nFrom a\nS: 2\n", []string{"S: 1\n", "S: 2\n"}},
		{"no last line end", "From a 10:00\nS: 1\n\nhi", []string{"S: 1\n\nhi"}},
		{"empty mails", "From a 10:00\nFrom a 10:00\n", []string{"", ""}},
		{"long separator", "From a 10:00" + strings.Repeat("x", 9000) + "\nS: 1\n", []string{"S: 1\n"}},
		{"long line", "From a 10:00\n\n" + strings.Repeat("x", 70000) + "\n>From me\n", []string{"\n" + strings.Repeat("x", 70000) + "\nFrom me\n"}},
	} {
		var got []string
		for raw, err := range mbox(bufio.NewReader(iotest.HalfReader(strings.NewReader(test.file)))) {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			got = append(got, string(raw))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestMboxReadErrorsAreTold(t *testing.T) {
	t.Parallel()
	var last error
	for _, err := range mbox(bufio.NewReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("From a 10:00\nS: 1\n"))))) {
		last = err
	}
	if last != iotest.ErrTimeout {
		t.Errorf("last error %v", last)
	}
}

// quote writes mails as mboxrd.
func quote(mails [][]byte) []byte {
	var b bytes.Buffer
	for _, m := range mails {
		b.WriteString("From a@example.org Fri Mar  1 10:00:00 2024\n")
		for line := range bytes.Lines(m) {
			if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
				b.WriteByte('>')
			}
			b.Write(line)
		}
		b.WriteString("\n")
	}
	return b.Bytes()
}

// FuzzMbox reads anything without harm, and reads back any mails that were written as mboxrd.
func FuzzMbox(f *testing.F) {
	f.Add([]byte("From a 10:00\nS: 1\n\n>From\n"), []byte("S: 2\n\n>>From x\n"))
	f.Add([]byte("S: 1\r\n\r\nFrom x 10:00\r\n"), []byte(""))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		for range mbox(bufio.NewReader(bytes.NewReader(one))) {
		}
		mails := [][]byte{append(slices.Clone(one), "x\n"...), append(slices.Clone(two), "y\n"...)}
		i := 0
		for got, err := range mbox(bufio.NewReader(bytes.NewReader(quote(mails)))) {
			if err != nil || i == len(mails) || !bytes.Equal(got, mails[i]) {
				t.Fatalf("mail %d is %q, %v, want %q", i, got, err, mails)
			}
			i++
		}
		if i != len(mails) {
			t.Fatalf("%d mails of %d", i, len(mails))
		}
	})
}

// FuzzMaildir reads any file name and content of a Maildir.
func FuzzMaildir(f *testing.F) {
	f.Add("1.x:2,FRS", []byte("Subject: x\n\nhi\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		var m Mail
		m.setMaildirFlags(name)
		if (m.Read || m.Flagged || m.Answered || m.Draft) && !strings.Contains(name, "2,") {
			t.Errorf("flags of %q", name)
		}
		for _, folder := range folderNames(name) {
			if folder == "" && name != "" && name != ".mbox" && name != ".sbd" {
				t.Errorf("%q gives an empty folder name", name)
			}
		}
		m.Raw = content
		m.setHeaderFlags()
		looksLikeMail(content)
	})
}
