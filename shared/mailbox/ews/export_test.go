package ews_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// batches records what each export request asks for and answers every item with its id.
func batches(x *exchange) *[][]string {
	var got [][]string
	x.on("ExportItems", func(body string) string {
		ids := asked(body)
		got = append(got, ids)
		var b strings.Builder
		for _, id := range ids {
			b.WriteString(exported(id))
		}
		return answered("ExportItems", b.String())
	})
	return &got
}

func ids(n int) []mailbox.ItemID {
	var out []mailbox.ItemID
	for i := range n {
		out = append(out, mailbox.ItemID(fmt.Sprint(i)))
	}
	return out
}

func TestExportCutsBatches(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, test := range []struct {
		name  string
		sizes []int64 // 0 means nobody said
		want  []int   // items in each request
	}{
		{"none", nil, nil},
		{"small ones go by twenty", slices.Repeat([]int64{75 << 10}, 45), []int{20, 20, 5}},
		{"larger ones go by 8 MB", slices.Repeat([]int64{2*mb - 2048}, 9), []int{4, 4, 1}},
		{"a large one goes alone", []int64{1000, 20 * mb, 1000, 1000}, []int{1, 1, 2}},
		{"two large ones", []int64{150 * mb, 150 * mb}, []int{1, 1}},
		{"unknown ones count as 1 MB", make([]int64, 17), []int{8, 8, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			s, got := x.open(), batches(x)
			all := ids(len(test.sizes))
			for i, n := range test.sizes {
				if n > 0 {
					s.Expect(all[i], n)
				}
			}
			told, err := exports(t, s, all...)
			if err != nil {
				t.Fatal(err)
			}
			var counts []int
			for _, b := range *got {
				counts = append(counts, len(b))
			}
			if !slices.Equal(counts, test.want) {
				t.Errorf("batches of %v, want %v", counts, test.want)
			}
			for i, line := range strings.Split(strings.TrimSpace(told), "\n") {
				if len(all) > 0 && line != fmt.Sprintf("%d %d", i, i) {
					t.Errorf("item %d was told as %q", i, line)
				}
			}
		})
	}
}

func TestExportSendsIDsAsTheyAre(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s, got := x.open(), batches(x)
	if _, err := exports(t, s, `a+/=<&"`); err != nil || fmt.Sprint(*got) != "[[a+/=&lt;&amp;&#34;]]" {
		t.Fatalf("sent %v, %v", *got, err)
	}
}

func TestExportKnowsSizesFromListings(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	s, got := x.open(), batches(x)
	x.on("FindItem", view("FindItem", "Items", 100, func(int) []string {
		var rows []string
		for i := range 20 {
			rows = append(rows, fmt.Sprintf(`<t:Message><t:ItemId Id="%d"/><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0xe08" PropertyType="Integer"/><t:Value>75000</t:Value></t:ExtendedProperty></t:Message>`, i))
		}
		return rows
	}))
	if _, err := listed(t, s.Items(t.Context(), "f")); err != nil {
		t.Fatal(err)
	}
	if _, err := exports(t, s, ids(20)...); err != nil || len(*got) != 1 {
		t.Fatalf("%d requests, %v; want one", len(*got), err)
	}
}

func TestExportTellsItemsApart(t *testing.T) {
	t.Parallel()
	message := func(code string) string { return refused("ExportItems", code) }
	for _, test := range []struct{ name, answer, want string }{
		{"gone", message("ErrorItemNotFound"), "(gone before copy: ErrorItemNotFound)"},
		{"corrupt", message("ErrorItemCorrupt"), "(corrupt at source: ErrorItemCorrupt)"},
		{"corrupt data", message("ErrorCorruptData"), "(corrupt at source: ErrorCorruptData)"},
		{"corrupt inside an internal error", refused("ExportItems", "ErrorInternalServerError", "InnerErrorResponseCode", "ErrorItemCorrupt"),
			"(corrupt at source: ErrorItemCorrupt)"},
		{"no data", ok("ExportItems", `<m:ItemId Id="x"/>`), "(corrupt at source: export without data)"},
		{"not base64", ok("ExportItems", `<m:Data>aGVs*G8=</m:Data>`), "(corrupt at source: not base64 at character 4 of Data)"},
		{"an empty stream is the caller's to judge", ok("ExportItems", `<m:Data/>`), ""},
		{"an internal error, twice", message("ErrorInternalServerError"), "(corrupt at source: ErrorInternalServerError)"},
		{"access denied, twice", message("ErrorAccessDenied"), "(corrupt at source: ErrorAccessDenied)"},
		{"a code nobody knows, twice", message("ErrorSomethingNew"), "(corrupt at source: ErrorSomethingNew)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.on("ExportItems", func(body string) string {
				var b strings.Builder
				for _, id := range asked(body) {
					if id == "1" {
						b.WriteString(test.answer)
					} else {
						b.WriteString(exported(id))
					}
				}
				return answered("ExportItems", b.String())
			})
			got, err := exports(t, x.open(), ids(3)...)
			if want := "0 0\n1 " + test.want + "\n2 2\n"; err != nil || got != want {
				t.Fatalf("got %v\n%s\nwant\n%s", err, got, want)
			}
			if wantSent := 1 + 2*strings.Count(test.name, "twice"); x.sent("ExportItems") != wantSent {
				t.Errorf("sent %d requests, want %d", x.sent("ExportItems"), wantSent)
			}
		})
	}
}

func TestExportAsksADoubtfulItemAgainAlone(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	first := true
	var got [][]string
	x.on("ExportItems", func(body string) string {
		got = append(got, asked(body))
		var b strings.Builder
		for _, id := range asked(body) {
			if id == "1" && first {
				b.WriteString(refused("ExportItems", "ErrorInternalServerError"))
				continue
			}
			b.WriteString(exported(id))
		}
		first = false
		return answered("ExportItems", b.String())
	})
	told, err := exports(t, x.open(), ids(3)...)
	if err != nil || told != "0 0\n1 1\n2 2\n" {
		t.Fatalf("got %q, %v", told, err)
	}
	if s := fmt.Sprint(got); s != "[[0 1 2] [1] [2]]" {
		t.Errorf("asked %s", s)
	}
}

func TestExportAsksForTheRestOfAStoppedBatch(t *testing.T) {
	t.Parallel()
	stopped := `<m:ExportItemsResponseMessage ResponseClass="Warning"><m:MessageText>Stopped.</m:MessageText><m:ResponseCode>ErrorBatchProcessingStopped</m:ResponseCode></m:ExportItemsResponseMessage>`
	for _, test := range []struct {
		name string
		rest func(left int) string
	}{
		{"the rest is told as stopped", func(left int) string { return strings.Repeat(stopped, left) }},
		{"the rest is left out", func(int) string { return "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			var got [][]string
			x.on("ExportItems", func(body string) string {
				all := asked(body)
				got = append(got, all)
				var b strings.Builder
				for _, id := range all[:min(2, len(all))] {
					b.WriteString(exported(id))
				}
				return answered("ExportItems", b.String()+test.rest(max(len(all)-2, 0)))
			})
			told, err := exports(t, x.open(), ids(5)...)
			if err != nil || told != "0 0\n1 1\n2 2\n3 3\n4 4\n" {
				t.Fatalf("got %q, %v", told, err)
			}
			if s := fmt.Sprint(got); s != "[[0 1 2 3 4] [2 3 4] [4]]" {
				t.Errorf("asked %s", s)
			}
			x.on("ExportItems", func(string) string { return answered("ExportItems", test.rest(5)) })
			if _, err := exports(t, x.open(), ids(5)...); !errors.Is(err, mailbox.ErrUnavailable) {
				t.Errorf("a batch that stops at once: %v", err)
			}
		})
	}
}

func TestExportEndsWithTheMailbox(t *testing.T) {
	t.Parallel()
	in := func(code string, values ...string) string {
		return answered("ExportItems", exported("0")+refused("ExportItems", code, values...)+exported("2"))
	}
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   error
		told   string
	}{
		{"mailbox is moving", 200, in("ErrorMailboxMoveInProgress"), mailbox.ErrUnavailable, "0 0\n"},
		{"store is down", 200, in("ErrorMailboxStoreUnavailable"), mailbox.ErrUnavailable, "0 0\n"},
		{"mailbox is gone", 200, in("ErrorNonExistentMailbox", "MailboxGuid", "f3f6"), mailbox.ErrNoMailbox, "0 0\n"},
		{"busy in a fault", 500, fault("ErrorServerBusy", "BackOffMilliseconds", "1000"), &mailbox.Throttled{}, ""},
		{"busy in a message", 200, in("ErrorServerBusy", "BackOffMilliseconds", "1000"), &mailbox.Throttled{}, "0 0\n"},
		{"a fault in an answer of 200", 200, fault("ErrorServerBusy", "BackOffMilliseconds", "1000"), &mailbox.Throttled{}, ""},
		{"a page instead of SOAP", 200, "<html><br></html>", mailbox.ErrUnavailable, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.fails("ExportItems", test.status, test.body)
			s := x.open()
			told, err := exports(t, s, ids(3)...)
			var throttled *mailbox.Throttled
			if _, want := test.want.(*mailbox.Throttled); want {
				if !errors.As(err, &throttled) || throttled.Until.Sub(x.clock.Now()) != time.Second {
					t.Fatalf("got %v, want throttled", err)
				}
			} else if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if told != test.told {
				t.Errorf("told %q, want %q", told, test.told)
			}
		})
	}
}

// A connection that is lost in the middle of an item is a passing fault, whether the caller notices or not.
func TestExportNoticesALostConnection(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("mail ", 100_000)
	for _, test := range []struct {
		name string
		read bool
	}{{"the caller reads to the cut", true}, {"the caller reads nothing", false}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t)
			x.answer["ExportItems"] = func(w http.ResponseWriter, _ string) {
				whole := answered("ExportItems", exported("0")+exported(big)+exported("2"))
				io.WriteString(w, whole[:len(whole)/2])
				panic(http.ErrAbortHandler)
			}
			var called []int
			err := x.open().Export(t.Context(), ids(3), func(i int, r io.Reader, err error) error {
				called = append(called, i)
				if err != nil || !test.read {
					return err
				}
				b, err := io.ReadAll(r)
				var item *mailbox.ItemError
				if i == 1 && (!errors.Is(err, mailbox.ErrUnavailable) || errors.As(err, &item) || len(b) == 0) {
					t.Errorf("item 1 was read as %d bytes, %v", len(b), err)
				}
				return nil
			})
			if !errors.Is(err, mailbox.ErrUnavailable) || fmt.Sprint(called) != "[0 1]" {
				t.Fatalf("got %v after %v", err, called)
			}
		})
	}
}

func TestExportNoticesALostConnectionInItsLastItem(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.answer["ExportItems"] = func(w http.ResponseWriter, _ string) {
		whole := answered("ExportItems", exported(strings.Repeat("mail ", 100_000)))
		io.WriteString(w, whole[:len(whole)/2])
		panic(http.ErrAbortHandler)
	}
	err := x.open().Export(t.Context(), ids(1), func(_ int, _ io.Reader, err error) error { return err })
	if !errors.Is(err, mailbox.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestExportStopsWhenTheCallerDoes(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	batches(x)
	enough := errors.New("enough")
	var kept io.Reader
	n := 0
	err := x.open().Export(t.Context(), ids(3), func(i int, r io.Reader, err error) error {
		if n++; i == 1 {
			kept = r
			return enough
		}
		return err
	})
	if !errors.Is(err, enough) || n != 2 {
		t.Fatalf("got %v after %d items", err, n)
	}
	if _, err := kept.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a reader that outlived its item gave %v", err)
	}
}

func TestExportReadsOtherFormsOfTheSameAnswer(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.on("ExportItems", func(string) string {
		s := answered("ExportItems", ok("ExportItems", "<m:Data>\r\n aG\n Vs\tbG8=\r\n</m:Data>"))
		return strings.NewReplacer("<m:", "<q1:", "</m:", "</q1:", "xmlns:m", "xmlns:q1", "<s:", "<SOAP:", "</s:", "</SOAP:", "xmlns:s", "xmlns:SOAP").Replace(s)
	})
	if told, err := exports(t, x.open(), "a"); err != nil || told != "0 hello\n" {
		t.Fatalf("got %q, %v", told, err)
	}
}
