package graphtest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

func TestFoldersAreThoseBelowTheVisibleRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	if _, err := w.m.CreateFolder(w.known("searchfolders").ID, "Unread", "IPF.Note"); err != nil {
		t.Fatal(err)
	}
	var p page
	w.get("/folders?$top=999").must(200).into(&p)
	names := p.names("displayName")
	if !strings.Contains(names, "Inbox,") || strings.Contains(names, "Conflicts") || strings.Contains(names, "Deletions") || !strings.HasSuffix(names, ",Unread") {
		t.Errorf("folders %s", names)
	}
	for _, v := range p.Value {
		if v["displayName"] != "Unread" && v["parentFolderId"] != w.folderID("msgfolderroot") {
			t.Errorf("%v is not below the root", v)
		}
	}
	w.get("/folders?$filter=type eq 'IPF.Appointment'&$select=displayName,type,wellKnownName&$top=5").must(200).into(&p)
	want := fmt.Sprintf("[map[@odata.type:#microsoft.graph.mailboxFolder displayName:Calendar id:%s parentMailboxUrl:%s type:IPF.Appointment wellKnownName:calendar]]",
		w.folderID("calendar"), w.at(""))
	if got := fmt.Sprint(p.Value); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	w.get("/folders/SyncIssues/childFolders?$orderby=displayName desc").must(200).into(&p)
	if got := p.names("displayName"); got != "Server Failures,Local Failures" {
		t.Errorf("children %s", got)
	}
	w.get("/folders/SyncIssues/childFolders?includeHiddenFolders=true").must(200).into(&p)
	if got := p.names("displayName"); got != "Conflicts,Local Failures,Server Failures" {
		t.Errorf("children %s", got)
	}
}

func TestOneFolderInManySpellings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	inbox := w.folderID("inbox")
	encoded := w.s.URL() + "/admin/exchange/mailboxes/" + url.QueryEscape(w.id)
	for _, u := range []string{
		w.at("/folders/inbox"), w.at("/folders/INBOX"), w.at("/folders/" + inbox), w.at("/folders('Inbox')"), w.at("/Folders/inbox/"),
		encoded + "/folders/" + url.PathEscape(inbox), w.at("/folders/msgfolderroot/childFolders/inbox"),
		strings.Replace(w.at("/folders/inbox"), "/mailboxes/"+w.id, "/mailboxes('"+url.QueryEscape(w.id)+"')", 1),
	} {
		var f map[string]any
		if w.do("GET", u, nil).must(200).into(&f); f["id"] != inbox || f["wellKnownName"] != "inbox" {
			t.Errorf("%s: %v", u, f)
		}
	}
	upper := strings.ToUpper(inbox)
	for _, c := range []struct {
		name, key, code string
		want            int
	}{
		{"unknown name", "nowhere", "ErrorInvalidIdMalformed", 400},
		{"a name without a folder", "Archive", "ErrorFolderNotFound", 404},
		{"id in another case", upper, "ErrorFolderNotFound", 404},
		{"an item's id", w.s.ItemID(w.m, w.add("inbox", "a")), "ErrorInvalidIdMalformed", 400},
		{"id of nothing", w.s.FolderID(w.m, 99), "ErrorFolderNotFound", 404},
		{"id of another mailbox", w.s.FolderID(exchangetest.New("x@contoso.example", exchangetest.Options{}), 4), "ErrorFolderNotFound", 404},
		{"not a child", "sentitems/childFolders/inbox", "ErrorFolderNotFound", 404},
	} {
		if r := w.get("/folders/" + c.key); r.Status != c.want || r.code() != c.code {
			t.Errorf("%s: %d %s", c.name, r.Status, r.Body)
		}
	}
}

func TestCreateRenameAndDeleteFolders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	var f map[string]any
	w.do("POST", w.at("/folders/inbox/childFolders"), `{"displayName":"Announcements","type":"IPF.Note","singleValueExtendedProperties":[{"id":"String {8ECCC264-6880-4EBE-992F-8888D2EEAA1D} Name Color","value":"Red"}]}`).must(201).into(&f)
	if f["parentFolderId"] != w.folderID("inbox") || f["wellKnownName"] != nil || f["totalItemCount"] != 0.0 {
		t.Errorf("created %v", f)
	}
	id := f["id"].(string)
	w.get("/folders/" + id + "?$expand=singleValueExtendedProperties($filter=id eq 'String {8eccc264-6880-4ebe-992f-8888d2eeaa1d} Name Color' or id eq 'String 0x3613')").must(200).into(&f)
	if got := fmt.Sprint(f["singleValueExtendedProperties"]); got != "[map[id:String {8eccc264-6880-4ebe-992f-8888d2eeaa1d} Name Color value:Red] map[id:String 0x3613 value:IPF.Note]]" {
		t.Errorf("extended properties %s", got)
	}
	for _, c := range []struct {
		name, method, path, body, code string
		want                           int
	}{
		{"same name", "POST", "/folders/inbox/childFolders", `{"displayName":"announcements","type":"IPF.Note"}`, "ErrorFolderExists", 409},
		{"no type", "POST", "/folders", `{"displayName":"x"}`, "BadRequest", 400},
		{"no name", "POST", "/folders", `{"type":"IPF.Note"}`, "BadRequest", 400},
		{"empty name", "PATCH", "/folders/" + id, `{"displayName":""}`, "BadRequest", 400},
		{"empty type", "PATCH", "/folders/" + id, `{"type":""}`, "BadRequest", 400},
		{"null name", "POST", "/folders", `{"displayName":null,"type":"IPF.Note"}`, "BadRequest", 400},
		{"slash", "POST", "/folders", `{"displayName":"a/b","type":"IPF.Note"}`, "ErrorInvalidRequest", 400},
		{"long", "POST", "/folders", `{"displayName":"` + strings.Repeat("x", 256) + `","type":"IPF.Note"}`, "ErrorInvalidRequest", 400},
		{"unknown property", "POST", "/folders", `{"displayName":"x","type":"IPF.Note","colour":"red"}`, "BadRequest", 400},
		{"not an object", "POST", "/folders", `[]`, "BadRequest", 400},
		{"not JSON", "POST", "/folders", `{`, "BadRequest", 400},
		{"bad extended property", "POST", "/folders", `{"displayName":"x","type":"IPF.Note","singleValueExtendedProperties":[{"id":"Sting 0x1","value":""}]}`, "BadRequest", 400},
		{"no such parent", "POST", "/folders/" + w.s.FolderID(w.m, 99) + "/childFolders", `{"displayName":"x","type":"IPF.Note"}`, "ErrorFolderNotFound", 404},
		{"change the type", "PATCH", "/folders/" + id, `{"type":"IPF.Task"}`, "BadRequest", 400},
		{"rename to a slash", "PATCH", "/folders/" + id, `{"displayName":"a/b"}`, "ErrorInvalidRequest", 400},
		{"rename the inbox", "PATCH", "/folders/inbox", `{"displayName":"In"}`, "ErrorAccessDenied", 403},
		{"delete the inbox", "DELETE", "/folders/inbox/$ref", "", "ErrorDeleteDistinguishedFolder", 403},
		{"delete nothing", "DELETE", "/folders/" + w.s.FolderID(w.m, 99), "", "ErrorFolderNotFound", 404},
		{"put", "PUT", "/folders/" + id, `{}`, "Request_BadRequest", 405},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if r := w.do(c.method, w.at(c.path), body); r.Status != c.want || r.code() != c.code {
			t.Errorf("%s: %d %s", c.name, r.Status, r.Body)
		}
	}
	if r := w.do("POST", w.at("/folders"), `{"displayName":"x","type":"IPF.Note"}`, "Content-Type", "text/plain"); r.Status != 415 {
		t.Errorf("as text: %d", r.Status)
	}
	w.do("PATCH", w.at("/folders/inbox/childFolders/"+id), `{"displayName":"News"}`).must(200).into(&f)
	if f["displayName"] != "News" {
		t.Errorf("renamed %v", f)
	}
	w.do("DELETE", w.at("/folders/inbox/childFolders/"+id+"/$ref"), nil).must(204)
	w.get("/folders/" + id).must(404)
	w.do("POST", w.at("/folders"), `{"displayName":"x","type":"IPF.Note"}`).must(201).into(&f)
	w.do("DELETE", w.at("/folders/"+f["id"].(string)), nil).must(204)
	w.s.Fill(w.m, true)
	if r := w.do("POST", w.at("/folders"), `{"displayName":"x","type":"IPF.Note"}`); r.Status != 403 || r.code() != "ErrorQuotaExceeded" {
		t.Errorf("in a full mailbox: %d %s", r.Status, r.Body)
	}
}

func TestUsersAndTheirMailboxes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	archive := exchangetest.New("archive-of-alex@contoso.example", exchangetest.Options{})
	alex := w.s.AddUser(graphtest.User{UPN: "alex@contoso.onmicrosoft.example", Mailbox: exchangetest.New("alex@contoso.example", exchangetest.Options{}), Archive: archive})
	w.s.AddUser(graphtest.User{UPN: "old@contoso.example", Mailbox: exchangetest.New("old@contoso.example", exchangetest.Options{}), NoREST: true})
	w.s.AddUser(graphtest.User{UPN: "none@contoso.example"})
	for _, key := range []string{alex.ID, alex.UPN, "ALEX@contoso.example"} {
		for _, path := range []string{"/users/" + key, "/users('" + key + "')"} {
			var v map[string]any
			w.do("GET", w.s.URL()+path+"/settings/exchange", nil).must(200).into(&v)
			if _, beta := v["inPlaceArchiveMailboxId"]; beta || v["primaryMailboxId"] != w.s.MailboxID(alex.Mailbox) {
				t.Errorf("%s: %v", path, v)
			}
			w.do("GET", w.s.BetaURL()+path+"/settings/exchange", nil).must(200).into(&v)
			if v["inPlaceArchiveMailboxId"] != w.s.MailboxID(archive) {
				t.Errorf("beta %s: %v", path, v)
			}
		}
	}
	inArchive := "/admin/exchange/mailboxes/" + w.s.MailboxID(archive)
	w.do("GET", w.s.BetaURL()+inArchive+"/folders", nil).must(200)
	var session struct{ ImportURL string }
	w.do("POST", w.s.BetaURL()+inArchive+"/createImportSession", nil).must(200).into(&session)
	body := importBody(w.s.FolderID(archive, w.known("inbox").ID), message("old"))
	w.do("POST", session.ImportURL, body).must(200)
	w.do("POST", strings.Replace(session.ImportURL, "/gbeta/", "/gv1.0/", 1), body).must(403)
	for _, c := range []struct {
		name, path, code string
		want             int
	}{
		{"no such user", "/users/nobody@contoso.example/settings/exchange", "Request_ResourceNotFound", 404},
		{"no mailbox", "/users/none@contoso.example/settings/exchange", "MailboxNotEnabledForRESTAPI", 404},
		{"on-premises", "/users/old@contoso.example/settings/exchange", "MailboxNotEnabledForRESTAPI", 404},
		{"options", "/users/" + alex.ID + "/settings/exchange?$select=primaryMailboxId", "BadRequest", 400},
		{"no such mailbox", "/admin/exchange/mailboxes/MBX:1@2/folders", "ResourceNotFound", 404},
		{"archive in v1.0", inArchive + "/folders", "ResourceNotFound", 404},
		{"address for an id", "/admin/exchange/mailboxes/megan@contoso.example/folders", "ResourceNotFound", 404},
		{"unknown segment", "/admin/exchange/mailboxes/" + w.id + "/rules", "BadRequest", 400},
		{"unknown resource", "/groups", "BadRequest", 400},
	} {
		if r := w.do("GET", w.s.URL()+c.path, nil); r.Status != c.want || r.code() != c.code {
			t.Errorf("%s: %d %s", c.name, r.Status, r.Body)
		}
	}
	r := w.do("GET", w.s.URL()+"/groups", nil, "client-request-id", "mine")
	if r.Header.Get("client-request-id") != "mine" || r.Header.Get("request-id") == "" || !strings.Contains(string(r.Body), `"client-request-id":"mine"`) {
		t.Errorf("request ids: %v %s", r.Header, r.Body)
	}
	loose := newWorld(t, graphtest.Options{Addresses: true})
	loose.do("GET", loose.s.URL()+"/admin/exchange/mailboxes/Megan@contoso.example/folders", nil).must(200)
}

func TestPathsThroughAParentAndCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	sub, err := w.m.CreateFolder(w.known("inbox").ID, "Sub", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	var deep []string
	for _, subject := range []string{"a", "b", "c"} {
		it, err := w.m.Add(sub.ID, exchangetest.Bytes(message(subject)))
		if err != nil {
			t.Fatal(err)
		}
		deep = append(deep, w.s.ItemID(w.m, it))
	}
	through := "/folders/inbox/childFolders/" + w.s.FolderID(w.m, sub.ID)
	var list page
	w.get(through + "/items?$top=2").must(200).into(&list)
	if got := list.names("id"); got != deep[2]+","+deep[1] {
		t.Errorf("items %q", got)
	}
	w.do("GET", list.Next, nil).must(200).into(&list)
	if got := list.names("id"); got != deep[0] {
		t.Errorf("second page %q", got)
	}
	entries, delta := w.round(w.at(through+"/items/delta()"), 2)
	if len(entries) != 3 {
		t.Errorf("delta %v", entries)
	}
	w.get(through + "/items/" + deep[0]).must(200)
	w.do("DELETE", w.at(through+"/items/"+deep[0]+"?disposalType=hardDelete"), nil).must(204)
	if entries, _ = w.round(delta, 2); len(entries) != 1 || entries[0]["@removed"] == nil {
		t.Errorf("next round %v", entries)
	}
	for path, want := range map[string]string{
		"/folders/$count": "12", "/folders('inbox')/childFolders/$count": "1", through + "/items/$count": "2",
		"/folders/inbox/items/$count": "0", "/folders/$count?$filter=type+eq+'IPF.Contact'": "1",
		"/folders/syncissues/childFolders/$count": "2", "/folders/syncissues/childFolders/$count?includeHiddenFolders=true": "3",
	} {
		if r := w.get(path); r.Status != 200 || string(r.Body) != want || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s: %d %s, want %s", path, r.Status, r.Body, want)
		}
	}
	stranger := strings.Replace(through, "/inbox/", "/drafts/", 1)
	for _, path := range []string{"/items", "/items/$count", "/items/delta", "/items/" + deep[1]} {
		if r := w.get(stranger + path); r.Status != 404 || r.code() != "ErrorFolderNotFound" {
			t.Errorf("%s of another parent: %d %s", path, r.Status, r.Body)
		}
	}
	w.get("/folders/$count?$top=1").must(400)
}

func TestAnswersAreDatedByTheServersClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	w.clock.Advance(30 * time.Minute)
	if got := w.get("/folders").must(200).Header.Get("Date"); got != "Mon, 02 Nov 2026 09:30:00 GMT" {
		t.Errorf("Date %q", got)
	}
}

func TestFolderTypesAndPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	search, err := w.m.CreateFolder(w.known("searchfolders").ID, "Unread", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := w.m.CreateFolder(w.known("inbox").ID, "Sub", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, kind, path string }{
		{"root", "0", "\uFFFE"},
		{"msgfolderroot", "1", "\uFFFE"},
		{"inbox", "1", "\uFFFEInbox"},
		{w.s.FolderID(w.m, sub.ID), "1", "\uFFFEInbox\uFFFESub"},
		{w.s.FolderID(w.m, search.ID), "2", "\uFFFEFinder\uFFFEUnread"},
	} {
		var f map[string]any
		w.get("/folders/" + c.key + "?$expand=singleValueExtendedProperties($filter=(id eq 'String 0x66b5') or (id eq 'Integer 0x3601'))").must(200).into(&f)
		want := fmt.Sprintf("[map[id:String 0x66b5 value:%s] map[id:Integer 0x3601 value:%s]]", c.path, c.kind)
		if got := fmt.Sprint(f["singleValueExtendedProperties"]); got != want {
			t.Errorf("%s: %q, want %q", c.key, got, want)
		}
	}
}
