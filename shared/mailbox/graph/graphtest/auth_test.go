package graphtest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	app := graphtest.App{ID: "app", Roles: graphtest.AllRoles()}
	good := w.s.TokenFor(app)
	sign := func(c graphtest.Claims) string {
		c.App, c.Roles = app.ID, app.Roles
		return w.s.SignToken(c)
	}
	for _, c := range []struct{ name, header string }{
		{"none", ""},
		{"other scheme", "Basic " + good},
		{"no dots", "Bearer nonsense"},
		{"changed signature", "Bearer " + good[:len(good)-4] + "AAAA"},
		{"changed claims", "Bearer " + strings.Replace(good, ".eyJ", ".eyK", 1)},
		{"other audience", "Bearer " + sign(graphtest.Claims{Audience: "https://vault.azure.net"})},
		{"other tenant", "Bearer " + sign(graphtest.Claims{Tenant: "another"})},
		{"expired", "Bearer " + sign(graphtest.Claims{Expires: w.clock.Now()})},
		{"not yet", "Bearer " + sign(graphtest.Claims{NotBefore: w.clock.Now().Add(time.Minute)})},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.do("GET", w.at("/folders"), nil, "Authorization", c.header)
			if r.Status != 401 || r.code() != "InvalidAuthenticationToken" || !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("answer %d %s", r.Status, r.Body)
			}
		})
	}
	w.get("/folders", "Authorization", "bearer "+good).must(200)
	w.clock.Advance(time.Hour)
	if r := w.get("/folders", "Authorization", "Bearer "+good); r.Status != 401 {
		t.Errorf("a token an hour old: %d", r.Status)
	}
}

func TestEveryOperationNeedsItsRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	it := w.s.ItemID(w.m, w.add("inbox", "a"))
	settings := w.s.URL() + "/users/megan@contoso.example/settings/exchange"
	folder := `{"displayName":"x","type":"IPF.Note"}`
	for _, c := range []struct {
		name, method, url, body string
		roles                   []string
	}{
		{"settings", "GET", settings, "", []string{"User.Read.All", "User.ReadWrite.All"}},
		{"list folders", "GET", w.at("/folders"), "", []string{"MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"}},
		{"delta of folders", "GET", w.at("/folders/delta"), "", []string{"MailboxFolder.Read.All", "MailboxFolder.ReadWrite.All"}},
		{"create folder", "POST", w.at("/folders"), folder, []string{"MailboxFolder.ReadWrite.All"}},
		{"delete folder", "DELETE", w.at("/folders/x"), "", []string{"MailboxFolder.ReadWrite.All"}},
		{"list items", "GET", w.at("/folders/inbox/items"), "", []string{"MailboxItem.Read.All"}},
		{"delta of items", "GET", w.at("/folders/inbox/items/delta"), "", []string{"MailboxItem.Read.All"}},
		{"delete item", "DELETE", w.at("/folders/inbox/items/" + it + "?disposalType=none"), "", []string{"MailboxItem.ReadWrite.All"}},
		{"export", "POST", w.at("/exportItems"), `{"itemIds":["` + it + `"]}`, []string{"MailboxItem.Export.All", "MailboxItem.ImportExport.All"}},
		{"session", "POST", w.at("/createImportSession"), "", []string{"MailboxItem.ImportExport.All"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			try := func(role string) reply {
				var body any
				if c.body != "" {
					body = c.body
				}
				return w.do(c.method, c.url, body, "Authorization", "Bearer "+w.s.TokenFor(graphtest.App{ID: "app", Roles: []string{role}}))
			}
			for _, role := range append(graphtest.AllRoles(), "User.ReadWrite.All", "MailboxFolder.Read.All", "MailboxItem.Export.All", "Mail.Read") {
				r, want := try(role), "ErrorAccessDenied"
				if c.name == "settings" {
					want = "Authorization_RequestDenied"
				}
				denied := r.Status == 403 && r.code() == want
				if denied == slices.Contains(c.roles, role) {
					t.Errorf("with %s: %d %s", role, r.Status, r.Body)
				}
			}
		})
	}
}

// Not parallel: the credential reads its endpoint from the environment.
func TestManagedIdentityCredential(t *testing.T) {
	w := newWorld(t, graphtest.Options{Apps: []graphtest.App{{ID: "first", Roles: []string{"MailboxFolder.Read.All"}},
		{ID: "second", Roles: []string{"MailboxItem.Read.All"}}}})
	url, header := w.s.IdentityEndpoint()
	t.Setenv("IDENTITY_ENDPOINT", url)
	t.Setenv("IDENTITY_HEADER", header)
	get := func(o *azidentity.ManagedIdentityCredentialOptions) string {
		t.Helper()
		cred, err := azidentity.NewManagedIdentityCredential(o)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := cred.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}})
		if err != nil {
			t.Fatal(err)
		}
		if want := w.clock.Now().Add(time.Hour); !tok.ExpiresOn.Equal(want) {
			t.Errorf("expires %v, want %v", tok.ExpiresOn, want)
		}
		return "Bearer " + tok.Token
	}
	first, second := get(nil), get(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID("second")})
	w.get("/folders", "Authorization", first).must(200)
	w.get("/folders", "Authorization", second).must(403)
	w.get("/folders/inbox/items", "Authorization", second).must(200)

	for _, c := range []struct {
		name, query, header string
		want                int
	}{
		{"no header", "?api-version=2019-08-01&resource=x", "", 401},
		{"wrong header", "?api-version=2019-08-01&resource=x", "guess", 401},
		{"old version", "?api-version=2017-09-01&resource=x", header, 400},
		{"no resource", "?api-version=2019-08-01", header, 400},
		{"unknown identity", "?api-version=2019-08-01&resource=x&client_id=third", header, 400},
	} {
		if r := w.do("GET", url+c.query, nil, "X-IDENTITY-HEADER", c.header); r.Status != c.want {
			t.Errorf("%s: %d, want %d", c.name, r.Status, c.want)
		}
	}
}
