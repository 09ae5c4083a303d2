metadata name = 'Key vault'
metadata description = 'The service account of the on-premises Exchange and the key that signs receipts. Nothing else is secret.'

@description('Required. Its name, 3 to 24 characters, unique in the world.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Reachable through a private endpoint only.')
param private bool

@description('Required. Deleted secrets cannot be purged before their time.')
param purgeProtection bool

@description('Required. Resource ID of the workspace that records who read which secret.')
param workspaceId string

@secure()
@description('Optional. Password of the service account.')
param ewsPassword string = ''

@secure()
@description('Optional. JSON list of service accounts.')
param ewsAccounts string = ''

@secure()
@description('Optional. Key that signs receipts.')
param receiptKey string = ''

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: purgeProtection ? true : null // false is refused once it was true
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    networkAcls: { bypass: 'AzureServices', defaultAction: private ? 'Deny' : 'Allow' }
  }

  resource password 'secrets' = if (!empty(ewsPassword)) {
    name: 'ews-password'
    properties: { value: ewsPassword, contentType: 'text/plain' }
  }

  resource accounts 'secrets' = if (!empty(ewsAccounts)) {
    name: 'ews-accounts'
    properties: { value: ewsAccounts, contentType: 'application/json' }
  }

  resource key 'secrets' = if (!empty(receiptKey)) {
    name: 'receipt-key'
    properties: { value: receiptKey, contentType: 'text/plain' }
  }
}

resource audit 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

@description('Resource ID.')
output id string = vault.id

@description('Name.')
output name string = vault.name

@description('What a secret\'s address begins with. The address is not the secret.')
output secretsUri string = '${vault.properties.vaultUri}secrets'
