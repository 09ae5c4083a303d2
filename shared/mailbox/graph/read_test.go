package graph_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
)

func TestNewRefusesWhatWouldGoOutWithoutToken(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"http://graph.example.com/v1.0", "ftp://127.0.0.1/v1.0", "graph.microsoft.com", "https://u:p@x/v1.0"} {
		if _, err := graph.New(graph.Options{BaseURL: base, Credential: credential{}}); err == nil {
			t.Errorf("no error for %s", base)
		}
	}
	if _, err := graph.New(graph.Options{}); err == nil {
		t.Error("no error without a credential")
	}
	if _, err := graph.New(graph.Options{Credential: credential{}}); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   error
		says   string
		calls  int
	}{
		{name: "found", answer: answer(200, `{"primaryMailboxId":"x"}`), calls: 1},
		{name: "unknown", answer: answer(404, errorBody("Request_ResourceNotFound")), want: mailbox.ErrNoMailbox, calls: 1},
		{name: "still on premises", answer: answer(404, errorBody("MailboxNotEnabledForRESTAPI")), want: mailbox.ErrNoMailbox, calls: 1},
		{name: "no mailbox id", answer: answer(200, `{"primaryMailboxId":null}`), want: mailbox.ErrNoMailbox, calls: 1},
		{name: "permission missing", answer: answer(403, errorBody("Authorization_RequestDenied")), want: mailbox.ErrAccess, says: "User.Read.All", calls: 1},
		{name: "token refused", answer: answer(401, errorBody("InvalidAuthenticationToken"), "WWW-Authenticate", "Bearer claims=broken"), want: mailbox.ErrAccess, calls: 1},
		{name: "error without message", answer: answer(400, `{"error":{}}`), want: errAny, says: "status 400", calls: 1},
		{name: "error without anything", answer: answer(400, `{}`), want: errAny, says: "status 400", calls: 1},
		{name: "error in html", answer: answer(400, `<html>`), want: errAny, says: "status 400", calls: 1},
		{name: "down", answer: answer(503, ``), want: mailbox.ErrUnavailable, calls: 4},
		{name: "hangs up", answer: hangUp, want: mailbox.ErrUnavailable, calls: 4},
		{name: "malformed", answer: answer(200, `{"primaryMailboxId":`), want: mailbox.ErrUnavailable, says: "byte", calls: 4},
		{name: "up again", answer: inTurn(answer(502, `bad gateway`), hangUp, answer(200, `{"primaryMailboxId":"x"}`)), calls: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCanned(t)
			key := "GET /v1.0/users/" + address + "/settings/exchange"
			c.on(key, tt.answer)
			client := newClient(t, c.URL, graph.Options{Clock: newHasty()})
			_, err := client.Target(t.Context(), address)
			silent(t, err)
			if tt.want == errAny && (err == nil || only(err) != nil) || tt.want != errAny && only(err) != tt.want {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v, want it to say %q", err, tt.says)
			}
			if n := c.count(key); tt.name != "hangs up" && tt.name != "up again" && n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls) // net/http repeats a GET by itself on a reused connection
			}
		})
	}
}

func TestAddressIsEscaped(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	c.on("GET /v1.0/users/a/../b?c@x/settings/exchange", func(w http.ResponseWriter, r *http.Request) {
		if want := "/v1.0/users/a%2F..%2Fb%3Fc%40x/settings/exchange"; r.URL.EscapedPath() != want {
			t.Errorf("path %s, want %s", r.URL.EscapedPath(), want)
		}
		answer(200, `{"primaryMailboxId":"x"}`)(w, r)
	})
	if _, err := newClient(t, c.URL, graph.Options{}).Target(t.Context(), "a/../b?c@x"); err != nil {
		t.Error(err)
	}
}

func TestClaimsChallengeIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	challenge := answer(401, errorBody("InvalidAuthenticationToken"), "WWW-Authenticate", `Bearer realm="", error="insufficient_claims", claims="e30="`)
	export := "POST " + prefix + "/exportItems"
	c.on(export, inTurn(challenge, answer(200, `{"value":[{"itemId":"a","data":"aGk="}]}`)))
	c.on("GET /v1.0/users/"+address+"/settings/exchange", inTurn(challenge, answer(200, `{"primaryMailboxId":"`+mailboxID+`"}`)))
	asked := &challenged{}
	client, err := graph.New(graph.Options{BaseURL: c.URL + "/v1.0", Credential: asked, Clock: newHasty()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	got, err := export1(t, m, "a")
	if err != nil || got != "a=hi" {
		t.Errorf("got %q, error %v", got, err)
	}
	if n := asked.claims.Load(); n != 2 {
		t.Errorf("%d tokens asked for with the claims {}, want 2", n)
	}
	c.on(export, challenge)
	if _, err := export1(t, m, "a"); only(err) != mailbox.ErrAccess {
		t.Errorf("error %v, want ErrAccess", err)
	}
}

// challenged counts the tokens asked for with the claims {}.
type challenged struct {
	credential
	claims atomic.Int32
}

func (c *challenged) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if o.Claims == "{}" {
		c.claims.Add(1)
	}
	return c.credential.GetToken(ctx, o)
}

const noFolder = `{"error":{"code":"ErrorItemNotFound","message":"m"}}`

func folderJSON(id, name, parent string, more string) string {
	return fmt.Sprintf(`{"id":%q,"displayName":%q,"parentFolderId":%q,"totalItemCount":3,"type":"IPF.Note"%s}`, id, name, parent, more)
}

func TestFolders(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	c.on("GET "+prefix+"/folders/msgfolderroot", answer(200, folderJSON("ROOT", "Top", "X", "")))
	c.on("GET "+prefix+"/folders", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skip") == "" {
			if r.URL.Query().Get("$top") != "2" || r.URL.Query().Get("$expand") != "singleValueExtendedProperties($filter=id eq 'Integer 0x3601')" {
				t.Errorf("query %s", r.URL.RawQuery)
			}
			answer(200, `{"value":[`+folderJSON("A", "Inbox", "ROOT", `,"wellKnownName":"inbox","childFolderCount":2`)+`,`+
				folderJSON("S0", "Flagged", "ROOT", `,"childFolderCount":1,"singleValueExtendedProperties":[{"id":"Integer 0x3601","value":"2"}]`)+`,`+
				folderJSON("S", "Unread", "FINDER", `,"singleValueExtendedProperties":[{"id":"Integer 0x3601","value":"2"}]`)+`],
				"@odata.nextLink":"`+c.URL+prefix+`/folders?%24skip=2&%24top=2"}`)(w, r)
			return
		}
		answer(200, `{"value":[`+folderJSON("B", "Stray", "FINDER", "")+`,`+
			folderJSON("Y", "Sync Issues", "ROOT", `,"wellKnownName":"syncissues","childFolderCount":1`)+`,`+
			folderJSON("C", "Kalender", "ROOT", `,"wellKnownName":"Calendar"`)+`]}`)(w, r)
	})
	c.on("GET "+prefix+"/folders/A/childFolders", answer(200, `{"value":[`+
		folderJSON("A1", "One", "A", `,"childFolderCount":1`)+`,`+folderJSON("A2", "Two", "A", "")+`]}`))
	c.on("GET "+prefix+"/folders/A1/childFolders", answer(200, `{"value":[`+folderJSON("A11", "Deep", "A1", "")+`,`+folderJSON("A", "Loop", "A1", "")+`]}`))
	c.on("GET "+prefix+"/folders/Y/childFolders", answer(200, `{"value":[`+folderJSON("Y1", "Konflikte", "Y", "")+`]}`))
	got, err := open(t, c.URL, graph.Options{PageSize: 2}).Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	folder := func(id, parent, name, known string) mailbox.Folder {
		return mailbox.Folder{ID: mailbox.FolderID(id), Parent: mailbox.FolderID(parent), Name: name, Class: "IPF.Note", Known: known, Items: 3}
	}
	want := []mailbox.Folder{folder("A", "ROOT", "Inbox", "inbox"), folder("C", "ROOT", "Kalender", "calendar"),
		folder("A1", "A", "One", ""), folder("A2", "A", "Two", ""), folder("A11", "A1", "Deep", "")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestFoldersLearnsWellKnownNames(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	for _, name := range []string{"msgfolderroot", "sentitems", "drafts", "deleteditems", "junkemail", "outbox", "archive", "contacts",
		"tasks", "notes", "journal", "syncissues"} {
		c.on("GET "+prefix+"/folders/"+name, answer(404, noFolder))
	}
	c.on("GET "+prefix+"/folders/journal", answer(400, errorBody("ErrorInvalidIdMalformed")))
	c.on("GET "+prefix+"/folders/inbox", answer(200, folderJSON("A", "Posteingang", "ROOT", "")))
	c.on("GET "+prefix+"/folders/calendar", answer(200, folderJSON("C", "Kalender", "ROOT", "")))
	c.on("GET "+prefix+"/folders", answer(200, `{"value":[`+folderJSON("A", "Posteingang", "ROOT", "")+`,`+
		folderJSON("C", "Kalender", "ROOT", `,"wellKnownName":null`)+`,`+folderJSON("U", "Inbox", "ROOT", "")+`]}`))
	got, err := open(t, c.URL, graph.Options{}).Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := map[mailbox.FolderID]string{}
	for _, f := range got {
		known[f.ID] = f.Known
	}
	if want := (map[mailbox.FolderID]string{"A": "inbox", "C": "calendar", "U": ""}); !reflect.DeepEqual(known, want) {
		t.Errorf("got %v, want %v", known, want)
	}
}

func TestCreateFolder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		parent mailbox.FolderID
		path   string
		answer http.HandlerFunc
		list   string
		wantID mailbox.FolderID
		want   error
	}{
		{name: "below the root", path: "/folders", answer: answer(201, folderJSON("N", "New", "ROOT", "")), wantID: "N"},
		{name: "below another", parent: "P=", path: "/folders/P=/childFolders", answer: answer(201, folderJSON("N", "New", "P=", "")), wantID: "N"},
		{name: "there already", path: "/folders", answer: answer(409, errorBody("ErrorFolderExists")),
			list: folderJSON("O", "Other", "ROOT", "") + "," + folderJSON("E", "nEW", "ROOT", ""), wantID: "E"},
		{name: "made by an answer that was lost", path: "/folders", answer: inTurn(hangUp, answer(409, errorBody("ErrorFolderExists"))),
			list: folderJSON("E", "New", "ROOT", ""), wantID: "E"},
		{name: "name refused", path: "/folders", answer: answer(400, errorBody("ErrorInvalidFolderName")), want: mailbox.ErrFolderName},
		{name: "parent gone", parent: "P", path: "/folders/P/childFolders", answer: answer(404, noFolder), want: mailbox.ErrNoFolder},
		{name: "not allowed", path: "/folders", answer: answer(403, errorBody("ErrorAccessDenied")), want: mailbox.ErrAccess},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCanned(t)
			c.on("POST "+prefix+tt.path, tt.answer)
			c.on("GET "+prefix+tt.path, answer(200, `{"value":[`+tt.list+`]}`))
			m := open(t, c.URL, graph.Options{Clock: newHasty()})
			got, err := m.CreateFolder(t.Context(), mailbox.Folder{Parent: tt.parent, Name: "New", Class: "IPF.Note"})
			silent(t, err)
			if only(err) != tt.want || (err == nil) != (tt.want == nil) || err == nil && got.ID != tt.wantID {
				t.Errorf("got %+v, error %v; want %q, %v", got, err, tt.wantID, tt.want)
			}
		})
	}
}

func TestItems(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	key := "GET " + prefix + "/folders/F=/items"
	c.on(key, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skip") != "" {
			answer(200, `{"value":[{"id":"a","size":1},{"id":"b","changeKey":"k2","type":"IPM.Appointment","size":2,
				"singleValueExtendedProperties":[{"id":"Integer 0xe07","value":"many"},{"id":"String 0x37","value":"s"}]}]}`)(w, r)
			return
		}
		for _, tag := range []string{"Binary 0x300B", "String 0x1035", "SystemTime 0x0E06", "Integer 0x0E07", "Boolean 0x0E1B"} {
			if !strings.Contains(r.URL.Query().Get("$expand"), "id eq '"+tag+"'") {
				t.Errorf("no %s in %s", tag, r.URL.Query().Get("$expand"))
			}
		}
		answer(200, `{"value":[{"id":"a","changeKey":"k","type":"IPM.Note","size":71133,"singleValueExtendedProperties":[
			{"id":"Binary 0x300b","value":"AQID"},{"id":"String 0x1035","value":"<m@x>"},{"id":"String 0x37","value":"Hi"},
			{"id":"String 0xc1f","value":"a@b"},{"id":"SystemTime 0x39","value":"2021-09-15T12:16:38Z"},
			{"id":"SystemTime 0xe06","value":"2021-09-15T14:16:38.5+02:00"},{"id":"String 0xe04","value":"T"},
			{"id":"String 0xe03","value":"C"},{"id":"String 0xe02","value":"B"},{"id":"Integer 0xe07","value":"17"},
			{"id":"Integer 0x1090","value":"2"},{"id":"Integer 0x17","value":"1"},{"id":"Boolean 0xe1b","value":"true"}]}],
			"@odata.nextLink":"`+c.URL+prefix+`/folders/F%3D/items?%24skip=1"}`)(w, r)
	})
	m := open(t, c.URL, graph.Options{})
	var got []mailbox.Item
	for i, err := range m.Items(t.Context(), "F=") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i)
	}
	want := []mailbox.Item{{ID: "a", Change: "k", Size: 71133, Properties: mailbox.Properties{Class: "IPM.Note",
		SearchKey: []byte{1, 2, 3}, MessageID: "<m@x>", Subject: "Hi", Sender: "a@b",
		Submitted: time.Date(2021, 9, 15, 12, 16, 38, 0, time.UTC), Received: time.Date(2021, 9, 15, 12, 16, 38, 5e8, time.UTC),
		To: "T", Cc: "C", Bcc: "B", Flags: 17, FlagStatus: 2, Importance: 1, Attachments: true}},
		{ID: "b", Change: "k2", Size: 2, Properties: mailbox.Properties{Class: "IPM.Appointment", Subject: "s"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for range m.Items(t.Context(), "F=") {
		break // stops without asking for more
	}
	if n := c.count(key); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	c.on("GET "+prefix+"/folders/gone/items", answer(404, errorBody("ErrorFolderNotFound")))
	for _, err := range m.Items(t.Context(), "gone") {
		if silent(t, err); only(err) != mailbox.ErrNoFolder {
			t.Errorf("error %v, want ErrNoFolder", err)
		}
	}
}

func TestLinksThatLeadAwayAreNotFollowed(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	c.on("GET "+prefix+"/folders/F/items", answer(200, `{"value":[],"@odata.nextLink":"http://localhost:1/steal"}`))
	for _, err := range open(t, c.URL, graph.Options{}).Items(t.Context(), "F") {
		if err == nil || !strings.Contains(err.Error(), "leads away") {
			t.Errorf("error %v", err)
		}
		silent(t, err)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	key := "GET " + prefix + "/folders/F/items/delta"
	c.on(key, inTurn(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Prefer") != "odata.maxpagesize=7" {
			t.Errorf("Prefer %q", r.Header.Get("Prefer"))
		}
		answer(200, `{"value":[{"id":"a","type":"IPM.Note","size":5}],"@odata.nextLink":"`+c.URL+prefix+`/folders/F/items/delta?%24skiptoken=t1"}`)(w, r)
	}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") != "t1" {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		answer(200, `{"value":[{"id":"b","@removed":{"reason":"deleted"}}],"@odata.deltaLink":"`+c.URL+prefix+`/folders/F/items/delta?%24deltatoken=t2"}`)(w, r)
	}, answer(410, errorBody("SyncStateNotFound"))))
	m := open(t, c.URL, graph.Options{PageSize: 7})
	one, err := m.Changes(t.Context(), "F", "")
	if err != nil || one.Items != 1 || !one.More {
		t.Fatalf("first page %+v, error %v", one, err)
	}
	two, err := m.Changes(t.Context(), "F", one.State)
	if err != nil || two.Items != 1 || two.More {
		t.Fatalf("second page %+v, error %v", two, err)
	}
	if _, err := m.Changes(t.Context(), "F", two.State); !errors.Is(err, mailbox.ErrStartAgain) {
		t.Errorf("error %v, want ErrStartAgain", err)
	}
}

// A link that the service refuses in whatever way is of no use; without one, a refusal is an error.
func TestALinkThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 410} {
		c := newCanned(t)
		c.on("GET "+prefix+"/folders/F/items/delta", answer(status, errorBody("SyncStateInvalid")))
		m := open(t, c.URL, graph.Options{})
		link := mailbox.SyncState(c.URL + prefix + "/folders/F/items/delta?%24deltatoken=t")
		if _, err := m.Changes(t.Context(), "F", link); !errors.Is(err, mailbox.ErrStartAgain) {
			t.Errorf("status %d: error %v, want ErrStartAgain", status, err)
		}
		if _, err := m.Changes(t.Context(), "F", ""); err == nil || status == 400 && errors.Is(err, mailbox.ErrStartAgain) {
			t.Errorf("status %d without a link: error %v", status, err)
		}
	}
}

func TestThrottledReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		answer   http.HandlerFunc
		patience time.Duration
		waits    time.Duration // at most; at least a tenth of it
		until    time.Duration
		by       string
	}{
		{name: "a fraction of a second", answer: inTurn(answer(429, errorBody("ApplicationThrottled"), "Retry-After", "2.128"), answer(200, `{"value":[]}`)),
			waits: 2128 * time.Millisecond},
		{name: "long", answer: answer(429, ``, "Retry-After", "30"), until: 30 * time.Second, by: "graph mailbox"},
		{name: "of the app", answer: answer(429, ``, "Retry-After", "30", "x-ms-throttle-scope", "Tenant_Application/ReadWrite/1/2"),
			until: 30 * time.Second, by: "graph app"},
		{name: "without patience", answer: answer(429, ``, "Retry-After", "1"), patience: -1, until: time.Second, by: "graph mailbox"},
		{name: "unsaid", answer: inTurn(answer(429, ``), answer(429, ``), answer(200, `{"value":[]}`)), waits: 3 * time.Second},
		{name: "503 with Retry-After", answer: inTurn(answer(503, ``, "Retry-After", "3"), answer(200, `{"value":[]}`)), waits: 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, clock := newCanned(t), newHasty()
			c.on("GET "+prefix+"/folders/F/items", tt.answer)
			m := open(t, c.URL, graph.Options{Clock: clock, Patience: tt.patience})
			start := clock.Now()
			var err error
			for _, e := range m.Items(t.Context(), "F") {
				err = e
			}
			silent(t, err)
			var throttled *mailbox.Throttled
			if tt.until > 0 {
				if !errors.As(err, &throttled) || throttled.Until.Sub(start) != tt.until || throttled.By != tt.by {
					t.Errorf("error %#v, want Throttled for %v by %s", err, tt.until, tt.by)
				}
				return
			}
			if err != nil || clock.total() > tt.waits || clock.total() < tt.waits/10 {
				t.Errorf("error %v, waited %v, want at most %v", err, clock.total(), tt.waits)
			}
		})
	}
}

func TestAppThrottleStopsOtherMailboxes(t *testing.T) {
	t.Parallel()
	c, clock := newCanned(t), newHasty()
	c.on("GET "+prefix+"/folders/F/items", answer(429, ``, "Retry-After", "30", "x-ms-throttle-scope", "Application/Read/1"))
	client := newClient(t, c.URL, graph.Options{Clock: clock})
	m, err := client.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	for range m.Items(t.Context(), "F") {
	}
	var throttled *mailbox.Throttled
	if _, err := client.Open(t.Context(), "other@contoso.com"); !errors.As(err, &throttled) {
		t.Errorf("error %v, want Throttled before anything is sent", err)
	}
}

// TestFourAtOnce holds four requests and sees that the others wait.
func TestFourAtOnce(t *testing.T) {
	t.Parallel()
	c := newCanned(t)
	c.sessions(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	arrived, release := make(chan struct{}, 20), make(chan struct{})
	hold := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-release
			answer(200, body)(w, r)
		}
	}
	c.on("POST /import", hold(`{"itemId":"i"}`))
	c.on("GET "+prefix+"/folders/F/items", hold(`{"value":[]}`))
	c.on("POST "+prefix+"/exportItems", hold(`{"value":[{"itemId":"a","data":""}]}`))
	client := newClient(t, c.URL, graph.Options{Clock: clockwork.NewRealClock()})
	done := make(chan error, 20)
	var opened []*graph.Mailbox
	for range 9 { // each its own, as different callers do
		m, err := client.Open(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, m)
	}
	for i, m := range opened {
		go func() {
			var err error
			switch i % 3 {
			case 0:
				_, err = m.Import(t.Context(), "f", streamOf("item"))
			case 1:
				for _, e := range m.Items(t.Context(), "F") {
					err = e
				}
			case 2:
				_, err = export1(t, m, "a")
			}
			done <- err
		}()
	}
	for range 4 {
		<-arrived
	}
	select {
	case <-arrived:
		t.Error("a fifth request while four are under way")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 9 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
