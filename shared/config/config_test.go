package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/config"
)

// complete is the least that a handler needs.
func complete() map[string]string {
	return map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT":                  "8080",
		"ServiceBusConnection__fullyQualifiedNamespace": "mail.servicebus.windows.net",
		"StorageConnection__blobServiceUri":             "https://mail.blob.core.windows.net",
		"StorageConnection__tableServiceUri":            "https://mail.table.core.windows.net",
		"EWS_URL":                                       "https://mail.old.example/EWS/Exchange.asmx",
		"EWS_USER":                                      `CORP\svc`,
		"EWS_PASSWORD":                                  "hunter2",
	}
}

func read(t *testing.T, settings map[string]string) (config.Config, error) {
	t.Helper()
	return config.Read(t.Context(), func(name string) (string, bool) {
		v, ok := settings[name]
		return v, ok
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := read(t, complete())
	if err != nil {
		t.Fatal(err)
	}
	if c.Verify != "sample" || c.Budget != 25*time.Minute || c.Doubt != 5*time.Minute || c.Memory != 64<<20 || c.EWS.Auth != "ntlm" ||
		c.Graph.URL != "https://graph.microsoft.com/v1.0" || c.HTTPAuth != "key" || c.Log.String() != "INFO" {
		t.Errorf("defaults %+v", c)
	}
	if len(c.EWS.Accounts) != 1 || c.EWS.Accounts[0].User != `CORP\svc` || c.EWS.Accounts[0].Password.Reveal() != "hunter2" {
		t.Errorf("accounts %+v", c.EWS.Accounts)
	}
}

func TestSeveralAccounts(t *testing.T) {
	t.Parallel()
	s := complete()
	s["EWS_ACCOUNTS"] = `[{"user":"CORP\\two","password":"b"},{"user":"CORP\\three","password":"c"}]`
	c, err := read(t, s)
	if err != nil || len(c.EWS.Accounts) != 3 || c.EWS.Accounts[2].Password.Reveal() != "c" {
		t.Errorf("accounts %+v, %v", c.EWS.Accounts, err)
	}
	delete(s, "EWS_USER")
	if c, err := read(t, s); err != nil || len(c.EWS.Accounts) != 2 {
		t.Errorf("accounts %+v, %v", c.EWS.Accounts, err)
	}
}

// An error names the setting, says what to do, and quotes no value that may be secret.
func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value, setting, says string }{
		{"FUNCTIONS_CUSTOMHANDLER_PORT", "", "FUNCTIONS_CUSTOMHANDLER_PORT", "missing"},
		{"EWS_URL", "", "EWS_URL", ""},
		{"ServiceBusConnection__fullyQualifiedNamespace", "", "ServiceBusConnection__fullyQualifiedNamespace", "missing"},
		{"StorageConnection__tableServiceUri", "", "StorageConnection__blobServiceUri and __tableServiceUri", "missing"},
		{"EWS_USER", "", "EWS_USER", "EWS_ACCOUNTS"},
		{"EWS_PASSWORD", "", "EWS_ACCOUNTS", "account 1 has no user or no password"},
		{"EWS_ACCOUNTS", `[{"user":"two","password":hunter3}]`, "EWS_ACCOUNTS", "want JSON like"},
		{"EWS_ACCOUNTS", `[{"user":"two"}]`, "EWS_ACCOUNTS", "account 2"},
		{"EWS_AUTH", "kerberos", "EWS_AUTH", "ntlm or basic"},
		{"EWS_CONCURRENCY", "many", "EWS_CONCURRENCY", ""},
		{"VERIFY", "some", "VERIFY", "index, sample or full"},
		{"HTTP_AUTH", "none", "HTTP_AUTH", "key or entra"},
		{"COPY_BUDGET", "30s", "COPY_BUDGET", "at least 1m"},
		{"COPY_BUDGET", "soon", "COPY_BUDGET", ""},
		{"COPY_DOUBT", "0s", "COPY_DOUBT", "above 0"},
		{"LOG_LEVEL", "LOUD", "LOG_LEVEL", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://HOST:PORT"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hunter3@collector.example", "OTEL_EXPORTER_OTLP_ENDPOINT", "without user"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Parallel()
			s := complete()
			if s[test.name] = test.value; test.value == "" {
				delete(s, test.name)
			}
			_, err := read(t, s)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("error %v, want one that says %q", err, test.says)
			}
			if !strings.Contains(err.Error(), test.setting) && test.setting != "" {
				t.Errorf("error %v does not name %s", err, test.setting)
			}
			if strings.Contains(err.Error(), "hunter") {
				t.Errorf("a secret stands in %v", err)
			}
		})
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	s := complete()
	maps.Copy(s, map[string]string{"RECEIPT_KEY": "hunter3", "ServiceBusConnection": "SharedAccessKey=hunter4", "StorageConnection": "AccountKey=hunter5"})
	c, err := read(t, s)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", c, c, c, c.ReceiptKey), string(encoded), c.ReceiptKey.LogValue().String()} {
		if strings.Contains(text, "hunter") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
}
