package mailbox_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// folders reads a tree as "id parent name" lines with an optional class and well-known name behind a bar:
// "2 1 Inbox | IPF.Note inbox". The root's id is 0; a dot stands for a space in names.
func folders(lines ...string) []mailbox.Folder {
	var out []mailbox.Folder
	for _, l := range lines {
		head, tail, _ := strings.Cut(l, " | ")
		f := strings.Fields(head)
		more := append(strings.Fields(tail), "", "")
		out = append(out, mailbox.Folder{ID: mailbox.FolderID(f[0]), Parent: mailbox.FolderID(f[1]), Name: strings.ReplaceAll(f[2], ".", " "), Class: more[0], Known: more[1]})
	}
	return out
}

func TestFoldersFindTheirPartners(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		source, target []mailbox.Folder
		want           []string // "source id > target id"; nothing behind the sign: to be made
	}{
		{"well-known folders in other languages",
			folders("1 0 Posteingang | IPF.Note inbox", "2 0 Gesendete.Elemente | IPF.Note sentitems"),
			folders("a r Sent.Items | IPF.Note sentitems", "b r Inbox | IPF.Note inbox"),
			[]string{"1 > b", "2 > a"}},
		{"a user's folder that is called as a well-known one in another language",
			folders("1 0 Posteingang | IPF.Note inbox", "2 0 Inbox | IPF.Note"),
			folders("b r Inbox | IPF.Note inbox"),
			[]string{"1 > b", "2 > "}},
		{"that folder after it was made under a free name",
			folders("1 0 Posteingang | IPF.Note inbox", "2 0 Inbox | IPF.Note"),
			folders("b r Inbox | IPF.Note inbox", "c r Inbox.(moved) | IPF.Note"),
			[]string{"1 > b", "2 > c"}},
		{"names in another case, with space around",
			folders("1 0 Projects", "2 1 ÄPFEL"),
			folders("a r .PROJECTS.", "b a äpfel"),
			[]string{"1 > a", "2 > b"}},
		{"the same name below another parent",
			folders("1 0 A", "2 1 X", "3 0 B", "4 3 X"),
			folders("a r A", "b r B", "c b X"),
			[]string{"1 > a", "2 > ", "3 > b", "4 > c"}},
		{"below a folder that is to be made everything is",
			folders("1 0 New", "2 1 Inbox"),
			folders("a r Inbox"),
			[]string{"1 > ", "2 > "}},
		{"a name that a folder of another kind has",
			folders("1 0 Team | IPF.Note"),
			folders("a r Team | IPF.Appointment"),
			[]string{"1 > "}},
		{"kinds that differ only in detail",
			folders("1 0 Team | IPF.Note.OutlookHomepage", "2 0 Plans | ", "3 0 Dates | ipf.appointment"),
			folders("a r Team | IPF.Note", "b r Plans | IPF.Note", "c r Dates | IPF.Appointment.Birthday"),
			[]string{"1 > a", "2 > b", "3 > c"}},
		{"a name that the target refused",
			folders("1 0 In/Out"),
			folders("a r In_Out"),
			[]string{"1 > a"}},
		{"a well-known folder that the target has as a user's",
			folders("1 0 Archive | IPF.Note archive"),
			folders("a r Archive | IPF.Note"),
			[]string{"1 > a"}},
		{"a well-known folder that the target lacks",
			folders("1 0 Journal | IPF.Journal journal", "2 1 Old | IPF.Journal"),
			folders("a r Inbox | IPF.Note inbox"),
			[]string{"1 > ", "2 > "}},
		{"a user's folder in a well-known one",
			folders("1 0 Boîte.de.réception | IPF.Note inbox", "2 1 Clients"),
			folders("a r Clients", "b r Inbox | IPF.Note inbox", "c b clients"),
			[]string{"1 > b", "2 > c"}},
		{"a folder whose parent was not listed is taken as one at the top",
			folders("1 9 Lost"),
			folders("a r Lost"),
			[]string{"1 > a"}},
		{"a target folder whose parent was not listed",
			folders("1 0 A"),
			folders("b x B", "a y A"),
			[]string{"1 > a"}},
		{"an empty source", nil, folders("a r A"), nil},
		{"an empty target", folders("1 0 A"), nil, []string{"1 > "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range mailbox.Pairs(test.source, test.target) {
				got = append(got, string(p.Source.ID)+" > "+string(p.Target.ID))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("pairs %q, want %q", got, test.want)
			}
		})
	}
}

func TestPathsNameTheSourcesFolders(t *testing.T) {
	t.Parallel()
	pairs := mailbox.Pairs(folders("1 0 A", "2 1 B", "3 2 C", "4 1 D"), folders("a r a"))
	for i, want := range []string{"A", "A/B", "A/B/C", "A/D"} {
		if got := strings.Join(pairs[i].Path, "/"); got != want {
			t.Errorf("path %q, want %q", got, want)
		}
	}
}

// Two folders of the source must not become one: the second would be taken for what the first has brought.
func TestNoTwoFoldersShareAPartner(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, target []mailbox.Folder }{
		"a refused name and the name it gets": {folders("1 0 In/Out", "2 0 In_Out"), folders("a r In_Out")},
		"two refused names":                   {folders("1 0 In/Out", `2 0 In\Out`), folders("a r In_Out")},
		"a taken name and the name it gets":   {folders("1 0 Team", "2 0 Team.(moved)"), folders("a r Team | IPF.Task", "b r Team.(moved)")},
		"space around a name":                 {folders("1 0 Team", "2 0 Team."), folders("a r Team")},
		"two whose parents were not listed":   {folders("1 8 Lost", "2 9 Lost"), folders("a r Lost")},
		"well-known and named":                {folders("1 0 Archiv | IPF.Note archive", "2 0 Archive"), folders("a r Archive | IPF.Note archive")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range [][]mailbox.Folder{test.source, {test.source[1], test.source[0]}} {
				seen := map[mailbox.FolderID]mailbox.FolderID{}
				for _, p := range mailbox.Pairs(order, test.target) {
					if other, taken := seen[p.Target.ID]; taken && p.Target.ID != "" {
						t.Errorf("folders %s and %s have the partner %s", other, p.Source.ID, p.Target.ID)
					}
					seen[p.Target.ID] = p.Source.ID
				}
			}
		})
	}
}

func TestSpareNamesAreFreeAndSafe(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	source := []mailbox.Folder{{ID: "1", Name: long}, {ID: "2", Name: long + "a"}, {ID: "3", Name: long + "b"}, {ID: "4", Name: "/"}, {ID: "5", Name: "\\"}, {ID: "6", Name: "Team"}}
	held := map[string]mailbox.FolderID{}
	for _, p := range mailbox.Pairs(source, nil) {
		safe := 0
		for _, name := range p.Names {
			if other, taken := held[strings.ToLower(name)]; taken {
				t.Errorf("%q is a name of %s and %s", name, other, p.Source.ID)
			}
			held[strings.ToLower(name)] = p.Source.ID
			if mailbox.SafeName(name) == name {
				safe++
			}
		}
		if p.Names[0] != p.Source.Name || safe < 2 {
			t.Errorf("folder %s: names %q, of which %d are safe", p.Source.ID, p.Names, safe)
		}
	}
}

func TestNamesForThoseThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"Team":                    "Team",
		`In/Out\All`:              "In_Out_All",
		" \tTeam\r\n":             "_Team__", // control characters are replaced before the trimming
		"a\x00b\x7F":              "a_b_",
		"":                        "(no name)",
		"  ":                      "(no name)",
		"///":                     "(no name)",
		"Grüße 日本 😀":              "Grüße 日本 😀",
		strings.Repeat("ä", 201):  strings.Repeat("ä", 200),
		strings.Repeat("a ", 150): strings.TrimSpace(strings.Repeat("a ", 100)),
	} {
		if got := mailbox.SafeName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"", "/", "a/b", strings.Repeat("x", 500), "\xff", "_ _", "é\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		safe := mailbox.SafeName(s)
		if safe == "" || strings.TrimSpace(safe) != safe || utf8.RuneCountInString(safe) > 200 || strings.ContainsAny(safe, "/\\\x00\n\r\t\x7F") {
			t.Errorf("%q becomes %q", s, safe)
		}
		if again := mailbox.SafeName(safe); again != safe {
			t.Errorf("%q becomes %q and that %q", s, safe, again)
		}
	})
}
