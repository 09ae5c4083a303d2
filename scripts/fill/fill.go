package fill

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

// Version is what the streams of the local Exchange announce: Exchange 2016 CU23.
var Version = fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}

// Plan says how to fill mailboxes.
type Plan struct {
	Mails []compose.Mail
	Own   bool // the mails are a user's own: each goes to one mailbox, in its folders; else every mailbox draws from them, and gets other items
	Each  int  // how many mails a mailbox draws
	Seed  uint64
	Total int // mailboxes
}

// folders that drawn mail is spread over: well-known name of the parent, path below it, and how much of the mail.
var folders = []struct {
	parent string
	path   string
	share  int
}{
	{"inbox", "", 40}, {"sentitems", "", 20}, {"inbox", "Projects", 10}, {"inbox", "Projects/Bridge & Köln", 8},
	{"msgfolderroot", "Archive 2024", 10}, {"msgfolderroot", "Archive 2024/Q1", 5}, {"deleteditems", "", 4}, {"drafts", "", 3},
}

// Fill puts the n-th mailbox's share into it. The same plan always gives the same content.
func (p Plan) Fill(m *exchangetest.Mailbox, n int) error {
	r := rand.New(rand.NewPCG(p.Seed, uint64(n)))
	if !p.Own {
		if err := p.draw(m, n, r); err != nil {
			return err
		}
		return others(m, n, r)
	}
	for i := n; i < len(p.Mails); i += p.Total {
		if err := add(m, "inbox", p.Mails[i].Folder, p.Mails[i], p.Mails[i].Options()); err != nil {
			return err
		}
	}
	return nil
}

// Draw adds the n-th lot of mails from the pool; lots of different numbers have no item in common.
func (p Plan) Draw(m *exchangetest.Mailbox, n int) error {
	return p.draw(m, n, rand.New(rand.NewPCG(p.Seed, uint64(n))))
}

// draw adds mails from the pool. Some come twice, as in real mailboxes.
func (p Plan) draw(m *exchangetest.Mailbox, n int, r *rand.Rand) error {
	for i := range p.Each {
		mail := p.Mails[r.IntN(len(p.Mails))]
		f := folders[pick(r)]
		o := compose.Options{
			Read: r.IntN(3) > 0, Flagged: r.IntN(12) == 0, Answered: r.IntN(6) == 0, Draft: f.parent == "drafts",
			Received: time.Date(2019, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(7*365*24*3600)) * time.Second),
			Seed:     fmt.Sprintf("%d-%d", n, i),
		}
		if r.IntN(20) == 0 {
			o.Categories = []string{"Follow up", "Blue"}
		}
		times := 1
		if r.IntN(25) == 0 {
			times = 3
		}
		for range times {
			if err := add(m, f.parent, split(f.path), mail, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func pick(r *rand.Rand) int {
	n := r.IntN(100)
	for i, f := range folders {
		if n -= f.share; n < 0 {
			return i
		}
	}
	return 0
}

func split(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func add(m *exchangetest.Mailbox, parent string, path []string, mail compose.Mail, o compose.Options) error {
	f, err := folder(m, parent, path, "IPF.Note")
	if err != nil {
		return fmt.Errorf("%s: %w", mail.Name, err)
	}
	msg, err := compose.MIME(bytes.NewReader(mail.Raw), o)
	if err != nil {
		return fmt.Errorf("%s: %w", mail.Name, err)
	}
	if err := put(m, f, msg); err != nil {
		return fmt.Errorf("%s: %w", mail.Name, err)
	}
	return nil
}

// folder returns the folder at a path below a well-known one and makes what is missing.
func folder(m *exchangetest.Mailbox, parent string, path []string, class string) (uint64, error) {
	at, err := m.Known(parent)
	if err != nil {
		return 0, err
	}
	id := at.ID
	for _, name := range path {
		f, err := m.CreateFolder(id, name, class)
		if errors.Is(err, exchangetest.ErrFolderExists) {
			for _, g := range m.Folders(id, false) {
				if strings.EqualFold(g.Name, name) {
					f, err = g, nil
				}
			}
		}
		if err != nil {
			return 0, fmt.Errorf("make folder: %w", err)
		}
		id = f.ID
	}
	return id, nil
}

func put(m *exchangetest.Mailbox, folder uint64, msg *fts.Message) error {
	var b bytes.Buffer
	if err := fts.Write(&b, msg, Version); err != nil {
		return err
	}
	kept, err := m.Keep(&b)
	if err != nil {
		return err
	}
	_, err = m.Add(folder, kept)
	return err
}

// Scan adds one mail with an attachment of size bytes, without holding it in memory. The bytes do not compress.
func Scan(m *exchangetest.Mailbox, n int, size int64) error {
	f, err := m.Known("inbox")
	if err != nil {
		return err
	}
	data := fts.Large{Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{byte(n)}), size)), nil
	}}
	msg := compose.Note(compose.NoteOptions{UID: fmt.Sprintf("scan-%d", n), Text: "Scan of the whole file", Created: time.Date(2025, 5, 5, 5, 5, 5, 0, time.UTC)})
	msg.Properties.Set(fts.Prop(fts.TagMessageClass, "IPM.Note"))
	msg.Attachments = []fts.Attachment{{Properties: fts.Properties{fts.Prop(fts.TagAttachLongFilename, "scan.tif"), fts.Prop(fts.TagAttachMethod, int32(1)),
		{ID: fts.TagAttachData, Type: fts.Binary, Value: data}}}}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(fts.Write(w, msg, Version)) }() // never fails
	kept, err := m.Keep(r)
	if err == nil {
		_, err = m.Add(f.ID, kept)
	}
	return err
}

// others adds what is no mail: events, contacts, tasks and notes.
func others(m *exchangetest.Mailbox, n int, r *rand.Rand) error {
	day := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).AddDate(0, 0, r.IntN(200))
	uid := func(kind string, i int) string { return fmt.Sprintf("%s-%d-%d", kind, n, i) }
	for i := range 2 + r.IntN(5) {
		at := day.Add(time.Duration(i*26) * time.Hour)
		for _, x := range []struct {
			parent string
			path   []string
			class  string
			msg    *fts.Message
		}{
			{"calendar", nil, "IPF.Appointment", compose.Event(compose.EventOptions{UID: uid("event", i), Subject: fmt.Sprintf("Ward round %d", i),
				Location: "Room 4", Body: "Bring the charts.", Start: at, End: at.Add(time.Hour), Busy: 2, Reminder: 15 * time.Minute,
				Organizer: compose.Address{Name: "Ward 7", Email: "ward7@old.example"},
				Attendees: []compose.Address{{Name: "Dr. Grün", Email: "gruen@old.example"}}, Categories: []string{"Clinic"}})},
			{"contacts", nil, "IPF.Contact", compose.Contact(compose.ContactOptions{UID: uid("contact", i), Given: "Ada", Surname: fmt.Sprintf("Byron-%d", i),
				Email: fmt.Sprintf("ada%d@partner.example", i), Company: "Partner", Business: "+44 20 7946 0000", Created: day})},
			{"tasks", nil, "IPF.Task", compose.Task(compose.TaskOptions{UID: uid("task", i), Subject: fmt.Sprintf("Order supplies %d", i),
				Start: day, Due: at, Percent: 10 * i, Created: day})},
			{"notes", nil, "IPF.StickyNote", compose.Note(compose.NoteOptions{UID: uid("note", i), Text: fmt.Sprintf("Note %d\nDoor code is at the desk.", i),
				Color: int32(i % 5), Created: day})},
		} {
			f, err := folder(m, x.parent, x.path, x.class)
			if err != nil {
				return err
			}
			if err := put(m, f, x.msg); err != nil {
				return fmt.Errorf("%s: %w", x.parent, err)
			}
		}
	}
	return nil
}
