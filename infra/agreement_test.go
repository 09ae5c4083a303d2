// Package infra_test holds what is deployed against the code: whoever renames a queue on one side finds out here.
package infra_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// check is one agreement, and the ways to break it that show that the check works.
type check struct {
	name   string
	find   func(*site) findings
	breaks []breakage
}

// breakage replaces text in a copy of a file.
type breakage struct{ file, old, new, want string }

func checks() []check {
	return []check{
		{"queues", checkQueues, []breakage{
			{servicebus, "name: 'verify'", "name: 'verfy'", "queue verify is in the code but not in trial"},
			{servicebus, "name: 'copy', sessions: true", "name: 'copy', sessions: false", "copy: requiresSession is false"},
			{servicebus, "'PT5M'", "'PT1M'", "lockDuration is 1m0s"},
			{servicebus, "maxDeliveryCount: 10", "maxDeliveryCount: 3", "maxDeliveryCount is 3"},
			{servicebus, "'PT10M'", "'PT1M'", "duplicateDetectionHistoryTimeWindow is 1m0s"},
			{servicebus, "requiresDuplicateDetection: true", "requiresDuplicateDetection: false", "requiresDuplicateDetection"},
			{servicebus, "deadLetteringOnMessageExpiration: true", "deadLetteringOnMessageExpiration: false", "deadLetteringOnMessageExpiration"},
		}},
		{"triggers", checkTriggers, []breakage{
			{"functions/copyshard/function.json", `"queueName": "copy"`, `"queueName": "copies"`, "copyshard: queue copies is not provisioned"},
			{"functions/copyshard/function.json", `"isSessionsEnabled": true`, `"isSessionsEnabled": false`, "copyshard: isSessionsEnabled is false"},
			{"functions/parkcopy/function.json", `"isSessionsEnabled": false`, `"isSessionsEnabled": true`, "parkcopy: isSessionsEnabled is true"},
			{"functions/planmailbox/function.json", `"dataType": "binary"`, `"dataType": "string"`, "planmailbox: dataType"},
			{"functions/planmailbox/function.json", `"ServiceBusConnection"`, `"BusConnection"`, "planmailbox: connection BusConnection"},
			{"functions/parkplan/function.json", "plan/$DeadLetterQueue", "copy/$DeadLetterQueue", "dead-letter queue of plan is read by no function"},
			{"functions/showwave/function.json", `"function"`, `"anonymous"`, "showwave: authLevel"},
		}},
		{"routes", checkRoutes, []breakage{
			{"functions/routes.go", `m.Message("copyshard"`, `m.Message("copyshards"`, "function copyshard is in functions/*/function.json but not in functions/routes.go"},
			{"functions/showwave/function.json", `"get"`, `"post"`, "showwave: function.json says POST waves/{wave}"},
			{"functions/routes.go", `m.Tick("startwaves"`, `m.Message("startwaves"`, "startwaves: function.json has a timerTrigger"},
		}},
		{"tables and containers", checkStores, []breakage{
			{storage, "'fences', ", "", "table fences is in scripts/stack but not in trial"},
			{storage, "'receipts', ", "'receits', ", "container receipts is in scripts/stack but not in trial"},
			{"functions/main.go", `tables.Of(rows, "groups")`, `tables.Of(rows, "sets")`, "table sets is used in functions but not provisioned"},
			{"functions/main.go", `azure.Of(blobs, "staging")`, `azure.Of(blobs, "stage")`, "container stage is used in functions but not provisioned"},
			{storage, "container: 'staging'", "container: 'stage'", "lifecycle rule stage/: there is no such container"},
			{storage, "{ container: 'staging', days: stagingDays }\n", "", "staging has no lifecycle rule"},
			{functionapp, "${blobUri}packages", "${blobUri}package", "deployment container package is not provisioned"},
		}},
		{"settings", checkSettings, []breakage{
			{functionapp, "COPY_BUDGET: '25m'", "COPY_BUDGETS: '25m'", "setting COPY_BUDGET is read by shared/config and set by nobody"},
			{functionapp, "COPY_BUDGET: '25m'", "COPY_BUDGETS: '25m'", "setting COPY_BUDGETS is set and read by nobody"},
			{functionapp, "COPY_BUDGET: '25m'", "COPY_BUDGET: '25x'", "config refuses the settings"},
			{functionapp, "AzureWebJobsStorage__accountName: storageName", "AzureWebJobsStorage: storageName", "setting AzureWebJobsStorage is set and read by nobody"},
			{functionapp, "AzureWebJobsStorage__accountName: storageName", "FUNCTIONS_WORKER_RUNTIME: 'custom'", "setting FUNCTIONS_WORKER_RUNTIME is set and read by nobody"},
			{functionapp, "AzureWebJobsStorage__accountName: storageName\n", "", "setting AzureWebJobsStorage__accountName is read by the Functions host and set by nobody"},
			{functionapp, "ServiceBusConnection__credential: 'managedidentity'\n", "", "setting ServiceBusConnection__credential is read by the Functions host's trigger and set by nobody"},
			{functionapp, "ServiceBusConnection__credential: 'managedidentity'", "ServiceBusConnection__credential: 'default'", "want managedidentity"},
			{functionapp, "ServiceBusConnection__clientId: clientId", "ServiceBusConnection__clientId: identityId", "setting ServiceBusConnection__clientId is"},
			{functionapp, "ClientId=${clientId}'", "ClientId=${identityId}'", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING is not"},
			{functionapp, "GOMEMLIMIT: '${instanceMemory * 85 / 100}MiB'", "GOMEMLIMIT: '85%'", "GOMEMLIMIT"},
		}},
		{"times", checkTimes, []breakage{
			{"host.json", `"00:35:00"`, `"00:25:00"`, "maxAutoLockRenewalDuration 25m0s is not above functionTimeout 30m0s"},
			{functionapp, "COPY_BUDGET: '25m'", "COPY_BUDGET: '30m'", "COPY_BUDGET 30m0s leaves less than a minute"},
			{"functions/startwaves/function.json", "0 * * * * *", "0 0 * * * *", "startwaves: schedule is 0 0 * * * *"},
			{"host.json", `"00:30:00"`, `"-1"`, "functionTimeout"},
			{"host.json", `"autoCompleteMessages": true`, `"autoCompleteMessages": false`, "autoCompleteMessages"},
			{"host.json", `"maxConcurrentCallsPerSession": 1`, `"maxConcurrentCallsPerSession": 2`, "one call per session"},
			{"host.json", `"prefetchCount": 0`, `"prefetchCount": 10`, "prefetchCount"},
		}},
		{"roles", checkRoles, []breakage{
			{roles, "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "b7e6dc6d-f1e8-4753-8033-0f276bb0955c", "role b7e6dc6d-f1e8-4753-8033-0f276bb0955c is not known"},
			{roles, "// Azure Service Bus Data Owner: receive", "// The bus: receive", "no comment names Azure Service Bus Data Owner"},
			{roles, "name: guid(storage.id, principalId, role.tableContributor)", "name: guid(storage.id, principalId, role.blobOwner)", "two role assignments have the same name"},
			{roles, "resource telemetry 'Microsoft.Authorization", "resource telemetry 'Microsoft.Authorisation", "the identity lacks Monitoring Metrics Publisher"},
			{roles, "scope: serviceBus\n", "", "is not scoped to one resource"},
			{"infra/modules/storage.bicep", "resource account '", "resource more 'Microsoft.Authorization/roleAssignments@2022-04-01' = { name: 'x', properties: {} }\n\nresource account '", "outside roles.bicep"},
		}},
		{"no keys", checkKeys, []breakage{
			{storage, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "allowSharedKeyAccess"},
			{storage, "'TLS1_2'", "'TLS1_0'", "minimumTlsVersion"},
			{servicebus, "disableLocalAuth: true", "disableLocalAuth: false", "disableLocalAuth"},
			{"infra/modules/monitor.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false", "DisableLocalAuth"},
			{"infra/modules/monitor.bicep", "features: { disableLocalAuth: true,", "features: {", "Microsoft.OperationalInsights/workspaces"},
			{storage, "metadata name", "// listKeys(account.id)\nmetadata name", "uses listKeys"},
			{"infra/main.bicep", "@secure()\n@description('Optional. Password", "@description('Optional. Password", "parameter ewsPassword holds a secret and is not @secure()"},
			{"infra/main.bicep", "output keyVaultName string = keyVault.outputs.name", "output keyVaultName string = ewsPassword", "output keyVaultName holds a secret"},
			{functionapp, "EWS_PASSWORD: empty(ews.user) ? '' : '@Microsoft.KeyVault(SecretUri=${secretsUri}/ews-password)'", "EWS_PASSWORD: 'given as MAILFERRY_EWS_PASSWORD'", "setting EWS_PASSWORD"},
			{functionapp, "/receipt-key)", "/receipts-key)", "setting RECEIPT_KEY points to the secret receipts-key, which nobody makes"},
			{functionapp, "httpsOnly: true", "httpsOnly: false", "httpsOnly"},
			{functionapp, "name: 'scm'\n    properties: { allow: false }", "name: 'scm'\n    properties: { allow: true }", "basicPublishingCredentialsPolicies"},
		}},
		{"private", checkPrivate, []breakage{
			{storage, "publicNetworkAccess: private ? 'Disabled' : 'Enabled'", "publicNetworkAccess: 'Enabled'", "Microsoft.Storage/storageAccounts: publicNetworkAccess"},
			{"infra/modules/endpoints.bicep", "  { group: 'vault', id: keyVaultId }\n", "", "no private endpoint for vault"},
			{"infra/modules/endpoints.bicep", "{ group: 'table', id: storageId }", "{ group: 'table', id: serviceBusId }", "the private endpoint for table leads to"},
			{functionapp, "virtualNetworkSubnetId: empty(subnetId) ? null : subnetId\n", "", "production: the app is in the virtual network: false"},
			{"infra/production.bicepparam", "serviceBusSku = 'Premium'", "serviceBusSku = 'Standard'", "private endpoints need Premium"},
			{"infra/modules/network.bicep", "'Microsoft.App/environments'", "'Microsoft.Web/serverFarms'", "subnet app is not delegated"},
			{"infra/modules/network.bicep", "{ id: nat.id } : null", "null : null", "signin: subnet app goes out through the NAT gateway: false"},
			{"infra/modules/network.bicep", "name: ewsHost", "name: 'x${ewsHost}'", "signin: the Exchange's name leads to its private address: false, in the network: false"},
		}},
		{"app", checkApp, []breakage{
			{functionapp, "name: 'custom', version: '1.0'", "name: 'go', version: '1.26'", "runtime"},
			{functionapp, "type: 'UserAssignedIdentity', user", "type: 'StorageAccountConnectionString', user", "the package is read with"},
			{functionapp, "name: 'FC1'", "name: 'EP1'", "plan"},
			{functionapp, "userAssignedIdentities: { '${identityId}': {} }", "userAssignedIdentities: {}", "identity"},
			{functionapp, "keyVaultReferenceIdentity: identityId", "keyVaultReferenceIdentity: 'SystemAssigned'", "keyVaultReferenceIdentity"},
			{"infra/production.bicepparam", "name: 'http', instanceCount", "name: 'function:copyshards', instanceCount", "alwaysReady names function:copyshards"},
			{functionapp, "unauthenticatedClientAction: 'Return401'", "unauthenticatedClientAction: 'AllowAnonymous'", "sign-in"},
			{functionapp, "empty(signInClientId) ? 'key' : 'entra'", "'entra'", "trial: HTTP_AUTH is entra"},
			{functionapp, "if (!empty(signInClientId))", "if (empty(signInClientId))", "sign-in"},
		}},
		{"versions", checkVersions, []breakage{
			{storage, "storageAccounts@2025-08-01' = {", "storageAccounts@2015-08-01' = {", "Microsoft.Storage/storageAccounts@2015-08-01 is not among the versions"},
			{storage, "Microsoft.Storage/storageAccounts@2025-08-01' = {", "Microsoft.Store/accounts@2025-08-01' = {", "Microsoft.Store/accounts@2025-08-01 is not among"},
		}},
		{"parameters", checkParameters, []breakage{
			{"infra/main.bicep", "@description('Required. What all names", "@description('What all names", "name: want a description that begins with Required. or Optional."},
			{"infra/main.bicep", "@description('Optional. Tags of", "@description('Required. Tags of", "tags: has a default and says Required."},
			{"infra/modules/identity.bicep", "@description('Resource ID.')\n", "", "output id: has no description"},
		}},
	}
}

// Files that are broken above.
const (
	servicebus  = "infra/modules/servicebus.bicep"
	storage     = "infra/modules/storage.bicep"
	functionapp = "infra/modules/functionapp.bicep"
	roles       = "infra/modules/roles.bicep"
)

func TestAgreement(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, f := range c.find(s) {
				t.Error(f)
			}
		})
	}
}

// A check that cannot fail checks nothing.
func TestChecksFind(t *testing.T) {
	t.Parallel()
	files := repository(t)
	for _, c := range append(checks(), telemetryChecks()...) {
		for _, b := range c.breaks {
			t.Run(c.name+"/"+b.want, func(t *testing.T) {
				t.Parallel()
				s, err := open(broken(t, files, b))
				if err != nil {
					t.Fatal(err)
				}
				found := strings.Join(c.find(s), "\n")
				if !strings.Contains(found, b.want) {
					t.Errorf("found %q, want %q", found, b.want)
				}
			})
		}
	}
}

func broken(t *testing.T, files fstest.MapFS, b breakage) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	for name, f := range files {
		out[name] = f
	}
	if out[b.file] == nil {
		t.Fatalf("there is no %s to break", b.file)
	}
	was := string(out[b.file].Data)
	if !strings.Contains(was, b.old) {
		t.Fatalf("%s does not contain %q", b.file, b.old)
	}
	out[b.file] = &fstest.MapFile{Data: []byte(strings.Replace(was, b.old, b.new, 1))}
	return out
}
