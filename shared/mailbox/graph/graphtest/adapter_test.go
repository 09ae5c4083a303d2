package graphtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	abs "github.com/microsoft/kiota-abstractions-go"
	azauth "github.com/microsoft/kiota-authentication-azure-go"
	khttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// fixed is a credential that has its token already.
type fixed string

func (f fixed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f)}, nil
}

// adapter is the SDK's, with its own middleware: telemetry, redirects, gzip of request bodies, decoding of names.
func adapter(t *testing.T, w *world) *core.GraphRequestAdapterBase {
	t.Helper()
	auth, err := azauth.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(fixed(w.token), []string{"https://graph.microsoft.com/.default"}, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	o := core.GraphClientOptions{GraphServiceVersion: "v1.0", GraphServiceLibraryVersion: "1.89.0"}
	hc := khttp.GetDefaultClient(core.NewGraphTelemetryHandler(&o), khttp.NewRedirectHandler(), khttp.NewCompressionHandler(),
		khttp.NewParametersNameDecodingHandler(), khttp.NewUserAgentHandler(), khttp.NewHeadersInspectionHandler())
	t.Cleanup(hc.CloseIdleConnections)
	a, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(auth, o, jsonserialization.NewJsonParseNodeFactory(), nil, hc)
	if err != nil {
		t.Fatal(err)
	}
	a.SetBaseUrl(w.s.URL())
	return a
}

func TestThroughTheSDK(t *testing.T) {
	t.Parallel()
	w := newWorld(t, graphtest.Options{})
	a := adapter(t, w)
	failures := abs.ErrorMappings{"XXX": odataerrors.CreateODataErrorFromDiscriminatorValue}
	send := func(m abs.HttpMethod, path string, query map[string]any, body any) ([]byte, error) {
		ri := abs.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(m, "{+baseurl}"+path+"{?%24top,%24expand,%24filter,%24select}",
			map[string]string{"mailboxId": w.id, "user": "megan@contoso.example", "folder": w.folderID("inbox")})
		for k, v := range query {
			ri.QueryParametersAny["%24"+k] = v
		}
		if strings.HasPrefix(path, "http") {
			ri.PathParameters["request-raw-url"] = path
		}
		ri.Headers.Add("Accept", "application/json")
		if body != nil {
			b, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			ri.SetStreamContentAndContentType(b, "application/json")
		}
		out, err := a.SendPrimitive(t.Context(), ri, "[]byte", failures)
		b, _ := out.([]byte)
		return b, err
	}
	must := func(v any) func([]byte, error) {
		return func(b []byte, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%T %v", err, err)
			}
			(reply{Body: b, t: t}).into(v)
		}
	}
	var settings, folder map[string]any
	must(&settings)(send(abs.GET, "/users/{user}/settings/exchange", nil, nil))
	if settings["primaryMailboxId"] != w.id {
		t.Errorf("settings %v", settings)
	}
	must(&folder)(send(abs.POST, "/admin/exchange/mailboxes/{mailboxId}/folders/{folder}/childFolders", nil, map[string]string{"displayName": "Ünï", "type": "IPF.Note"}))
	if folder["displayName"] != "Ünï" {
		t.Errorf("folder %v", folder)
	}
	for _, s := range []string{"a", "b", "c"} {
		w.add("inbox", s)
	}
	var p page
	must(&p)(send(abs.GET, "/admin/exchange/mailboxes/{mailboxId}/folders/{folder}/items", map[string]any{"top": 2,
		"filter": "createdDateTime ge 2026-01-01 and type eq 'IPM.Note'", "expand": "singleValueExtendedProperties($filter=id eq 'String 0x0037' or id eq 'SystemTime 0x0E06')"}, nil))
	entries := p.Value
	must(&p)(send(abs.GET, p.Next, nil, nil))
	if entries = append(entries, p.Value...); len(entries) != 3 || p.Next != "" || entries[2]["singleValueExtendedProperties"] == nil {
		t.Errorf("items %v", entries)
	}
	must(&p)(send(abs.GET, "/admin/exchange/mailboxes/{mailboxId}/folders/{folder}/items/delta()", nil, nil))
	must(&p)(send(abs.GET, p.Delta, nil, nil))
	if len(p.Value) != 0 || p.Delta == "" {
		t.Errorf("delta %+v", p)
	}
	var exported struct{ Value []struct{ Data string } }
	must(&exported)(send(abs.POST, "/admin/exchange/mailboxes/{mailboxId}/exportItems", nil, map[string]any{"ItemIds": []any{entries[0]["id"]}}))
	if len(exported.Value) != 1 || !strings.HasPrefix(exported.Value[0].Data, "AQAAAAgAAAAAAAAAAQAAAAMAAAAYAAAAAQAAAAcDAgAAAAAAwAAAAAAAAEYAJACABAAAAAYAAAA") {
		t.Errorf("exported %+v", exported)
	}
	if _, err := send(abs.DELETE, "/admin/exchange/mailboxes/{mailboxId}/folders/"+folder["id"].(string)+"/$ref", nil, nil); err != nil {
		t.Errorf("delete folder: %v", err)
	}

	w.s.Next(1, graphtest.ListFolders).Throttle("2.5")
	for _, c := range []struct {
		path, code, wait string
		want             int
	}{
		{"/admin/exchange/mailboxes/{mailboxId}/folders", "ApplicationThrottled", "2.5", http.StatusTooManyRequests},
		{"/admin/exchange/mailboxes/{mailboxId}/folders/nowhere", "ErrorInvalidIdMalformed", "", http.StatusBadRequest},
	} {
		_, err := send(abs.GET, c.path, nil, nil)
		e, ok := err.(*odataerrors.ODataError)
		if !ok || e.ResponseStatusCode != c.want || *e.GetErrorEscaped().GetCode() != c.code || strings.Join(e.ResponseHeaders.Get("Retry-After"), "") != c.wait ||
			*e.GetErrorEscaped().GetInnerError().GetRequestId() == "" {
			t.Errorf("%s: %T %v", c.path, err, err)
		}
	}
}
