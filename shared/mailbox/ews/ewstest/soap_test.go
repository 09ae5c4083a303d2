package ewstest

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

const inboxCount = `<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds></m:GetFolder>`

func TestWhoMayActAsWhom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.s.AddAlias("a.berg@corp.test", w.m)
	w.s.AddAccount("scoped", "x", "CORP", MayImpersonate(other))
	w.s.AddAccount("full", "x", "CORP", FullAccess(address))
	imp := func(kind, who string) string {
		return version + "<t:ExchangeImpersonation><t:ConnectingSID><t:" + kind + ">" + who + "</t:" + kind + "></t:ConnectingSID></t:ExchangeImpersonation>"
	}
	named := strings.Replace(inboxCount, `Id="inbox"/>`, `Id="inbox"><t:Mailbox><t:EmailAddress>`+address+`</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>`, 1)
	for _, c := range []struct{ name, user, header, body, want string }{
		{"service account", "svc:secret", imp("PrimarySmtpAddress", address), inboxCount, "NoError"},
		{"by other case", "svc:secret", imp("SmtpAddress", "Anna.Berg@CORP.test"), inboxCount, "NoError"},
		{"by SID", "svc:secret", imp("SID", SID(w.m)), inboxCount, "NoError"},
		{"by principal name", "svc:secret", imp("PrincipalName", address), inboxCount, "NoError"},
		{"by alias", "svc:secret", imp("SmtpAddress", "a.berg@corp.test"), inboxCount, "NoError"},
		{"alias as primary address", "svc:secret", imp("PrimarySmtpAddress", "a.berg@corp.test"), inboxCount, "ErrorNonPrimarySmtpAddress"},
		{"no such mailbox", "svc:secret", imp("PrimarySmtpAddress", "nobody@corp.test"), inboxCount, "ErrorNonExistentMailbox"},
		{"no such SID", "svc:secret", imp("SID", "S-1-5-21-1"), inboxCount, "ErrorInvalidUserSid"},
		{"without the role", "anna:geheim", imp("PrimarySmtpAddress", other), inboxCount, "ErrorImpersonateUserDenied"},
		{"within the scope", "scoped:x", imp("PrimarySmtpAddress", other), inboxCount, "NoError"},
		{"outside the scope", "scoped:x", imp("PrimarySmtpAddress", address), inboxCount, "ErrorImpersonateUserDenied"},
		{"empty header", "svc:secret", version + "<t:ExchangeImpersonation/>", inboxCount, "ErrorInvalidExchangeImpersonationHeaderData"},
		{"owner", "anna:geheim", version, inboxCount, "NoError"},
		{"service account without impersonation", "svc:secret", version, inboxCount, "ErrorMissingEmailAddress"},
		{"full access", "full:x", version, named, "NoError"},
		{"no access", "scoped:x", version, named, "ErrorFolderNotFound"},
		{"impersonated, another's folder", "svc:secret", imp("PrimarySmtpAddress", other), named, "ErrorFolderNotFound"},
		{"newer version", "anna:geheim", `<t:RequestServerVersion Version="V2018_01_08"/>`, inboxCount, "ErrorInvalidServerVersion"},
		{"with a time zone", "anna:geheim", version + `<t:TimeZoneContext><t:TimeZoneDefinition Id="UTC"/></t:TimeZoneContext>`, inboxCount, "NoError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			user, password, _ := strings.Cut(c.user, ":")
			w.as(user, password, c.header, c.body).is(c.want)
		})
	}
}

func TestSchemaViolations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for _, c := range []struct{ name, body, want string }{
		{"unknown operation", `<m:Foo/>`, "Could not find schema information"},
		{"operation of another namespace", strings.ReplaceAll(inboxCount, "m:GetFolder", "t:GetFolder"), "Could not find schema information"},
		{"attribute missing", strings.Replace(find("inbox", ""), ` Traversal="Shallow"`, "", 1), "The required attribute 'Traversal' is missing"},
		{"attribute's value", strings.Replace(find("inbox", ""), `"Shallow"`, `"Deep"`, 1), "The 'Traversal' attribute is invalid - The value 'Deep'"},
		{"attribute too many", strings.Replace(find("inbox", ""), `Traversal=`, `Speed="fast" Traversal=`, 1), "The 'Speed' attribute is not declared"},
		{"folder name", strings.Replace(inboxCount, `"inbox"`, `"Inbox"`, 1), "The 'Id' attribute is invalid - The value 'Inbox'"},
		{"field name", strings.Replace(find("inbox", ""), `item:Subject`, `item:Topic`, 1), "The 'FieldURI' attribute is invalid"},
		{"order", `<m:GetFolder><m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape></m:GetFolder>`, "has invalid child element 'FolderIds'"},
		{"sort after parents", strings.Replace(find("inbox", ""), `</m:FindItem>`, `<m:SortOrder/></m:FindItem>`, 1), "has invalid child element 'SortOrder'"},
		{"child's namespace", strings.ReplaceAll(inboxCount, "t:BaseShape", "m:BaseShape"), "has invalid child element 'BaseShape'"},
		{"incomplete", `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape></m:GetItem>`, "has incomplete content"},
		{"no ids", `<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ItemIds/></m:GetItem>`, "has incomplete content"},
		{"too many changes", `<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId>` + known("inbox") + `</m:SyncFolderId><m:MaxChangesReturned>513</m:MaxChangesReturned></m:SyncFolderItems>`, "MaxChangesReturned"},
		{"unbalanced", `<m:GetFolder>`, "element <GetFolder> closed by </Body>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := w.ask(c.body).is("ErrorSchemaValidation")
			if a.status != http.StatusInternalServerError || !strings.Contains(a.texts("Violation"), c.want) {
				t.Errorf("status %d, violation %q, want %q", a.status, a.texts("Violation"), c.want)
			}
			if a.texts("faultcode") != "a:ErrorSchemaValidation" || !strings.HasPrefix(a.texts("faultstring"), "The request failed schema validation: ") {
				t.Errorf("fault is %s", a.text)
			}
		})
	}
	// What the schema forbids and Exchange takes.
	w.ask(find("inbox", "<m:Restriction/>")).is("NoError")
	w.ask(`<m:GetAttachment><m:AttachmentShape/><m:AttachmentIds><t:AttachmentId Id="x"/></m:AttachmentIds></m:GetAttachment>`).is("ErrorInvalidAttachmentId")
}

func TestWhatIsNotSimulatedSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	a := w.ask(`<m:GetUserOofSettingsRequest/>`).is("ErrorInvalidOperation")
	if a.status != 500 || a.texts("faultstring") != "The operation GetUserOofSettingsRequest is not simulated." {
		t.Errorf("status %d, %s", a.status, a.text)
	}
}

func TestNotAnEnvelope(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for name, text := range map[string]string{
		"other root": `<x/>`, "no body": `<e:Envelope xmlns:e="` + nsSOAP + `"/>`,
		"two operations": envelope(version+asAnna, inboxCount+inboxCount),
	} {
		a, err := w.send("svc", "secret", text)
		if err != nil || a.status != 500 || a.texts("ResponseCode") != "ErrorInvalidRequest" {
			t.Errorf("%s: %v %d %s", name, err, a.status, a.text)
		}
	}
	a, err := w.send("svc", "secret", `<!DOCTYPE x [<!ENTITY a "b">]>`+envelope(version, inboxCount))
	if err != nil || !strings.Contains(a.text, "DTD is prohibited") {
		t.Errorf("DTD: %v %s", err, a.text)
	}
}

func TestAnswersNameTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	v := w.ask(inboxCount).is("NoError").all("ServerVersionInfo")
	if len(v) != 1 || v[0].attr("MajorVersion") != "15" || v[0].attr("MinorVersion") != "1" || v[0].name.Space != nsTypes {
		t.Fatalf("got %+v", v)
	}
}

func TestOldVersionsHaveNoExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	export := `<m:ExportItems>` + itemIDs(w.m, it) + `</m:ExportItems>`
	w.as("svc", "secret", asAnna, export).is("ErrorSchemaValidation")
	w.as("svc", "secret", `<t:RequestServerVersion Version="Exchange2010"/>`+asAnna, export).is("ErrorSchemaValidation")
	w.as("svc", "secret", `<t:RequestServerVersion Version="Exchange2010_SP1"/>`+asAnna, export).is("NoError")
}

func TestAroundTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{TLS: true, MaxRequest: 1000})
	get := func(method, url, body, kind string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("anna", "geheim")
		r.Header.Set("Content-Type", kind)
		resp, err := w.s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	for _, c := range []struct {
		name, method, url, body, kind string
		want                          int
	}{
		{"lower case", "POST", strings.ToLower(w.s.URL()), envelope(version, "<m:Foo/>"), "text/xml", 500},
		{"GET leads to the description", "GET", w.s.URL(), "", "", 200},
		{"JSON", "POST", w.s.URL(), "{}", "application/json", 415},
		{"PUT", "PUT", w.s.URL(), "", "text/xml", 405},
		{"too large", "POST", w.s.URL(), strings.Repeat(" ", 1001), "text/xml", 404},
		{"elsewhere", "GET", strings.Replace(w.s.URL(), "EWS", "owa", 1), "", "", 404},
	} {
		if got := get(c.method, c.url, c.body, c.kind).StatusCode; got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
}

func TestAutodiscover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	ask := func(who string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(w.s.URL(), "EWS/Exchange.asmx", "Autodiscover/Autodiscover.xml", 1),
			strings.NewReader(`<Autodiscover><Request><EMailAddress>`+who+`</EMailAddress></Request></Autodiscover>`))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("anna", "geheim")
		resp, err := w.s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		root, err := decodeXML(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		a := answer{t: t, root: root}
		return strings.Join([]string{a.texts("EwsUrl"), a.texts("ErrorCode")}, "|")
	}
	if got, want := ask(address), w.s.URL()+","+w.s.URL()+"|"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ask("nobody@corp.test"); got != "|500" {
		t.Errorf("unknown address: got %q", got)
	}
}

func TestSmallOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.ask(`<m:ResolveNames ReturnFullContactData="true"><m:UnresolvedEntry>Anna</m:UnresolvedEntry></m:ResolveNames>`).is("NoError").eq("EmailAddress", address)
	w.s.AddMailbox(exchangetest.New("anna.zorn@corp.test", exchangetest.Options{}))
	many := w.ask(`<m:ResolveNames ReturnFullContactData="false"><m:UnresolvedEntry>Anna</m:UnresolvedEntry></m:ResolveNames>`).is("ErrorNameResolutionMultipleResults")
	if got := many.attrs("ResolveNamesResponseMessage", "ResponseClass"); got[0] != "Warning" || len(many.all("Resolution")) != 2 {
		t.Errorf("two of that name: %s", many.text)
	}
	w.ask(`<m:ResolveNames ReturnFullContactData="true"><m:UnresolvedEntry>zoe</m:UnresolvedEntry></m:ResolveNames>`).is("ErrorNameResolutionNoResults")
	zones := w.ask(`<m:GetServerTimeZones ReturnFullTimeZoneData="true"><m:Ids><t:Id>UTC</t:Id></m:Ids></m:GetServerTimeZones>`).is("NoError").attrs("TimeZoneDefinition", "Id")
	if len(zones) != 1 || zones[0] != "UTC" {
		t.Errorf("zones: %v", zones)
	}
	w.ask(`<m:GetDelegate IncludePermissions="true"><m:Mailbox><t:EmailAddress>` + address + `</t:EmailAddress></m:Mailbox></m:GetDelegate>`).is("NoError")
	w.ask(`<m:GetUserConfiguration><m:UserConfigurationName Name="x">` + known("inbox") + `</m:UserConfigurationName><m:UserConfigurationProperties>All</m:UserConfigurationProperties></m:GetUserConfiguration>`).is("ErrorItemNotFound")
}

func TestConvertId(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 1)
	convert := func(from, id, to string) answer {
		return w.ask(`<m:ConvertId DestinationFormat="` + to + `"><m:SourceIds><t:AlternateId Format="` + from + `" Id="` + id + `" Mailbox="` + address + `"/></m:SourceIds></m:ConvertId>`)
	}
	id := ItemID(w.m, it)
	for _, format := range []string{"EwsId", "OwaId", "EntryId", "HexEntryId"} {
		there := convert("EwsId", id, format).is("NoError").attrs("AlternateId", "Id")[0]
		if back := convert(format, there, "EwsId").is("NoError").attrs("AlternateId", "Id")[0]; back != id {
			t.Errorf("%s: came back as %s", format, back)
		}
	}
	convert("EwsId", "DUMMY", "EntryId").is("ErrorInvalidIdMalformed")
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for range 3 {
		w.ask(inboxCount)
	}
	if got := w.s.Requests("GetFolder"); got != 3 {
		t.Fatalf("got %d", got)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	m := exchangetest.New(address, exchangetest.Options{})
	item, folder := ItemID(m, exchangetest.Item{ID: 70000, Folder: 5}), FolderID(m, 5)
	for _, c := range []struct {
		name, id string
		length   int
	}{{"item", item, 152}, {"folder", folder, 120}} {
		if len(c.id) != c.length || !strings.HasPrefix(c.id, "AAMkA") {
			t.Errorf("%s id: %d characters, %s", c.name, len(c.id), c.id)
		}
	}
	if x, ok := decodeID(item); !ok || x.item != 70000 || x.folder != 5 || x.mailbox != m.GUID {
		t.Errorf("item id reads as %+v", x)
	}
	if key := changeKey(m, 9, 77); len(key) != 40 || !strings.HasPrefix(key, "CQAAABYAAA") {
		t.Errorf("change key %s", key)
	}
	if x, ok := decodeID(attachmentID(m, exchangetest.Item{ID: 7, Folder: 5}, 3)); !ok || x.attachment != 3 || x.item != 7 {
		t.Errorf("attachment id reads as %+v", x)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(envelope(version+asAnna, inboxCount))
	f.Add(envelope(version+asAnna, find("inbox", `<m:IndexedPageItemView MaxEntriesReturned="10" Offset="0" BasePoint="Beginning"/>`)))
	f.Add(envelope(version, `<m:UploadItems><m:Items><t:Item CreateAction="CreateNew"><t:ParentFolderId Id="x"/><t:Data>AA==</t:Data></t:Item></m:Items></m:UploadItems>`))
	f.Add(`<a><b>` + strings.Repeat("<c>", 100))
	f.Add("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>")
	s := Start(Options{Auth: []Scheme{Basic}})
	f.Cleanup(s.Close)
	m := exchangetest.New(address, exchangetest.Options{})
	s.AddMailbox(m)
	s.AddAccount("svc", "secret", "CORP", MayImpersonateAll())
	inbox, _ := m.Known("inbox")
	var b bytes.Buffer
	if err := fts.Write(&b, compose.Note(compose.NoteOptions{Text: "text"}), fts.Version{Major: 15, Minor: 1}); err != nil {
		f.Fatal(err)
	}
	it, err := m.Add(inbox.ID, exchangetest.Bytes(b.Bytes()))
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{
		`<m:GetItem><m:ItemShape><t:BaseShape>AllProperties</t:BaseShape><t:IncludeMimeContent>true</t:IncludeMimeContent></m:ItemShape>` + itemIDs(m, it) + `</m:GetItem>`,
		`<m:ExportItems>` + itemIDs(m, it) + `</m:ExportItems>`,
		syncItems("inbox", "", 10), syncHierarchy(""),
		`<m:CreateItem MessageDisposition="SaveOnly"><m:Items><t:Message><t:MimeContent>QTogYg==</t:MimeContent></t:Message></m:Items></m:CreateItem>`,
		`<m:UpdateItem ConflictResolution="AlwaysOverwrite"><m:ItemChanges><t:ItemChange><t:ItemId Id="` + ItemID(m, it) + `"/><t:Updates><t:SetItemField><t:ExtendedFieldURI PropertyTag="0x1090" PropertyType="Integer"/><t:Message><t:ExtendedProperty><t:Value>2</t:Value></t:ExtendedProperty></t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>`,
		find("inbox", `<m:Restriction><t:IsEqualTo><t:FieldURI FieldURI="message:IsRead"/><t:FieldURIOrConstant><t:Constant Value="true"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>`),
	} {
		f.Add(envelope(version+asAnna, body))
	}
	f.Fuzz(func(t *testing.T, text string) {
		w := newRecorder()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/EWS/Exchange.asmx", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "text/xml")
		r.SetBasicAuth("svc", "secret")
		s.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 500 || strings.Contains(w.Body.String(), "ErrorInternalServerError") {
			t.Fatalf("status %s: %s", strconv.Itoa(w.Code), w.Body)
		}
	})
}
