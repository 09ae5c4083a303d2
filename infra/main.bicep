metadata name = 'Mailferry'
metadata description = 'Everything that Mailferry needs in one resource group, in the order in which it is made.'

@description('Required. What all names begin with: 3 to 11 lower-case letters and digits, beginning with a letter.')
@minLength(3)
@maxLength(11)
param name string

@description('Optional. Where everything lives. Mail in flight stays in this region.')
param location string = resourceGroup().location

@description('Optional. Tags of every resource.')
param tags object = {}

// Where mail comes from.

@description('Required. The EWS address of the Exchange that mailboxes come from: https://HOST/EWS/Exchange.asmx.')
param ewsUrl string

@description('Optional. How to sign in there.')
@allowed(['ntlm', 'basic'])
param ewsAuth string = 'ntlm'

@description('Optional. The service account with ApplicationImpersonation, DOMAIN\\name or a UPN. Empty: the accounts are in the secret ews-accounts.')
param ewsUser string = ''

@description('Optional. Requests at once per service account and process. 0: the published 27.')
@minValue(0)
@maxValue(27)
param ewsConcurrency int = 0

// Secrets come from the environment of whoever deploys. An empty one leaves what the vault holds as it is.

@secure()
@description('Optional. Password of ewsUser, to be stored in the vault.')
param ewsPassword string = ''

@secure()
@description('Optional. Instead of one account, a JSON list [{"user":"…","password":"…"}], to be stored in the vault.')
param ewsAccounts string = ''

@secure()
@description('Optional. Ed25519 key that signs receipts, to be stored in the vault. scripts/deploy makes one the first time.')
param receiptKey string = ''

// How it runs.

@description('Optional. How much of an item is compared with its copy.')
@allowed(['index', 'sample', 'full'])
param verify string = 'sample'

@description('Optional. What is logged. Not less than INFO: the workbook and the alerts read those lines.')
@allowed(['DEBUG', 'INFO'])
param logLevel string = 'INFO'

@description('Optional. An OpenTelemetry collector that takes spans and metrics over HTTP, without a key: https://HOST. Empty: log lines only.')
param otlpEndpoint string = ''

@description('Optional. Memory of one instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048

@description('Optional. Most instances per function.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Optional. Instances that are always there: a list of {name: \'http\' or \'function:NAME\', instanceCount: N}.')
param alwaysReady array = []

@description('Optional. Recreate ends work under way when a new version comes, and it is delivered again; RollingUpdate (preview) lets it finish.')
@allowed(['Recreate', 'RollingUpdate'])
param updateStrategy string = 'Recreate'

// Who may reach it.

@description('Optional. Premium has private endpoints; Standard is enough for a trial.')
@allowed(['Standard', 'Premium'])
param serviceBusSku string = 'Standard'

@description('Optional. Premium only: messaging units.')
@allowed([1, 2, 4, 8, 16])
param messagingUnits int = 1

@description('Optional. Private endpoints for storage, Service Bus and the vault, and a way to an on-premises Exchange. Needs Premium.')
param private bool = false

@description('Optional. Address range of the virtual network, /24 or larger. Peer it with the one that leads to your Exchange.')
param addressPrefix string = '10.88.0.0/24'

@description('Optional. With private: the private address at which the network reaches the Exchange of ewsUrl. Its name then leads there. Empty: public DNS.')
param ewsAddress string = ''

@description('Optional. With private: all calls to the internet come from one public address, the output outboundAddress, that a firewall can let in. Costs a NAT gateway.')
param fixedAddress bool = false

@description('Optional. Client ID of the app registration for Entra sign-in, with the app roles operator and reader. Empty: a function key is enough.')
param signInClientId string = ''

@description('Optional. Address ranges (CIDR) that may call the HTTP functions. Empty: any, with a key.')
param allowedAddresses array = []

@description('Optional. Object ID of the Entra group that reads receipts and reports.')
param operatorsGroupId string = ''

// What is kept, and who is told.

@description('Optional. Redundancy of storage.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('Optional. Days after which a staged item is deleted that was left behind.')
@minValue(7)
param stagingDays int = 7

@description('Optional. Days after which a manifest is deleted. Longer than from the first pass of a wave to its cutover.')
@minValue(30)
param manifestDays int = 90

@description('Optional. Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 30

@description('Optional. Deleted secrets and the vault cannot be purged before their time. Cannot be undone.')
param purgeProtection bool = false

@description('Optional. Who is told of alerts. Empty: alerts are seen in the portal only.')
param alertEmails array = []

@description('Optional. Price of one GB-second in the workbook\'s cost tiles, in your currency.')
param gigabyteSecondPrice string = '0.000026'

var token = uniqueString(resourceGroup().id, name)

module identity 'modules/identity.bicep' = {
  params: { name: 'id-${name}', location: location, tags: tags }
}

module monitor 'modules/monitor.bicep' = {
  params: { name: name, location: location, tags: tags, days: logDays }
}

module network 'modules/network.bicep' = if (private) {
  params: {
    name: 'vnet-${name}'
    location: location
    tags: tags
    addressPrefix: addressPrefix
    ewsHost: split(split(ewsUrl, '/')[2], ':')[0]
    ewsAddress: ewsAddress
    fixedAddress: fixedAddress
  }
}

module storage 'modules/storage.bicep' = {
  params: {
    name: 'st${name}${take(token, 10)}'
    location: location
    tags: tags
    sku: storageSku
    private: private
    stagingDays: stagingDays
    manifestDays: manifestDays
  }
}

module serviceBus 'modules/servicebus.bicep' = {
  params: {
    name: 'sb-${name}-${take(token, 8)}'
    location: location
    tags: tags
    sku: serviceBusSku
    messagingUnits: messagingUnits
    private: private
  }
}

module keyVault 'modules/keyvault.bicep' = {
  params: {
    name: 'kv-${name}-${take(token, 8)}'
    location: location
    tags: tags
    private: private
    purgeProtection: purgeProtection
    workspaceId: monitor.outputs.workspaceId
    ewsPassword: ewsPassword
    ewsAccounts: ewsAccounts
    receiptKey: receiptKey
  }
}

module endpoints 'modules/endpoints.bicep' = if (private) {
  params: {
    name: name
    location: location
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    zoneIds: network!.outputs.zoneIds
    storageId: storage.outputs.id
    serviceBusId: serviceBus.outputs.id
    keyVaultId: keyVault.outputs.id
  }
}

module roles 'modules/roles.bicep' = {
  params: {
    principalId: identity.outputs.principalId
    operatorsGroupId: operatorsGroupId
    storageName: storage.outputs.name
    serviceBusName: serviceBus.outputs.name
    keyVaultName: keyVault.outputs.name
    insightsName: monitor.outputs.insightsName
  }
}

module functionApp 'modules/functionapp.bicep' = {
  dependsOn: [roles, endpoints] // the app's first start needs its roles and a way to its storage
  params: {
    name: 'func-${name}-${take(token, 8)}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    clientId: identity.outputs.clientId
    storageName: storage.outputs.name
    blobUri: storage.outputs.blobUri
    tableUri: storage.outputs.tableUri
    serviceBusHost: serviceBus.outputs.host
    secretsUri: keyVault.outputs.secretsUri
    insightsConnection: monitor.outputs.insightsConnection
    workspaceId: monitor.outputs.workspaceId
    subnetId: private ? network!.outputs.appSubnetId : ''
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReady: alwaysReady
    updateStrategy: updateStrategy
    allowedAddresses: allowedAddresses
    signInClientId: signInClientId
    ews: { url: ewsUrl, auth: ewsAuth, user: ewsUser, concurrency: ewsConcurrency }
    verify: verify
    logLevel: logLevel
    otlpEndpoint: otlpEndpoint
  }
}

module alerts 'modules/alerts.bicep' = {
  params: {
    name: name
    location: location
    tags: tags
    emails: alertEmails
    appId: functionApp.outputs.id
    serviceBusId: serviceBus.outputs.id
    insightsId: monitor.outputs.insightsId
  }
}

module workbook 'modules/workbook.bicep' = {
  params: {
    name: name
    location: location
    tags: tags
    workspaceId: monitor.outputs.workspaceId
    insightsId: monitor.outputs.insightsId
    serviceBusId: serviceBus.outputs.id
    appId: functionApp.outputs.id
    gigabyteSecondPrice: gigabyteSecondPrice
  }
}

@description('Name of the function app.')
output appName string = functionApp.outputs.name

@description('Where the HTTP functions are.')
output url string = functionApp.outputs.url

@description('Client ID of the managed identity, for scripts/grant.')
output identityClientId string = identity.outputs.clientId

@description('Object ID of the managed identity\'s service principal, for scripts/grant.')
output identityPrincipalId string = identity.outputs.principalId

@description('Name of the key vault.')
output keyVaultName string = keyVault.outputs.name

@description('Client ID of the app registration for sign-in; empty without sign-in.')
output signInClientId string = signInClientId

@description('The one public address that calls come from; empty without fixedAddress.')
output outboundAddress string = private ? network!.outputs.outboundAddress : ''
