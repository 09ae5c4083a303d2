metadata name = 'Roles'
metadata description = 'Every role assignment there is. Who may do what stands here and nowhere else.'

@description('Required. Object ID of the managed identity.')
param principalId string

@description('Optional. Object ID of the Entra group that reads receipts and reports.')
param operatorsGroupId string = ''

@description('Required. Name of the storage account.')
param storageName string

@description('Required. Name of the Service Bus namespace.')
param serviceBusName string

@description('Required. Name of the key vault.')
param keyVaultName string

@description('Required. Name of Application Insights.')
param insightsName string

var role = {
  blobOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b' // Storage Blob Data Owner
  blobReader: '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1' // Storage Blob Data Reader
  tableContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3' // Storage Table Data Contributor
  busOwner: '090c5cfd-751d-490a-894a-3ce6f1109419' // Azure Service Bus Data Owner
  secretsUser: '4633458b-17de-408a-b874-0445c86b69e6' // Key Vault Secrets User
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb' // Monitoring Metrics Publisher
}

resource storage 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageName
  resource blobs 'blobServices' existing = {
    name: 'default'
    resource receipts 'containers' existing = { name: 'receipts' }
    resource reports 'containers' existing = { name: 'reports' }
  }
}

resource serviceBus 'Microsoft.ServiceBus/namespaces@2026-01-01' existing = { name: serviceBusName }
resource keyVault 'Microsoft.KeyVault/vaults@2026-02-01' existing = { name: keyVaultName }
resource insights 'Microsoft.Insights/components@2020-02-02' existing = { name: insightsName }

// Storage Blob Data Owner: the host keeps its leases and keys in the account and asks for this role; the package is
// read and the handler's blobs are written with it too.
resource blobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, principalId, role.blobOwner)
  scope: storage
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.blobOwner)
  }
}

// Storage Table Data Contributor: the ledger; the host's own diagnostic events.
resource tables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, principalId, role.tableContributor)
  scope: storage
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.tableContributor)
  }
}

// Azure Service Bus Data Owner: receive and send, and read queue lengths. With Receiver and Sender alone the platform
// cannot see the lengths and scales one instance at a time.
resource queues 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(serviceBus.id, principalId, role.busOwner)
  scope: serviceBus
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.busOwner)
  }
}

// Key Vault Secrets User: read secrets, for the settings that point to them.
resource secrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(keyVault.id, principalId, role.secretsUser)
  scope: keyVault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.secretsUser)
  }
}

// Monitoring Metrics Publisher: send telemetry without an instrumentation key.
resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, principalId, role.metricsPublisher)
  scope: insights
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.metricsPublisher)
  }
}

// Storage Blob Data Reader, on two containers: people who read receipts and reports, and nothing that holds mail.
resource receiptsReaders 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorsGroupId)) {
  name: guid(storage::blobs::receipts.id, operatorsGroupId, role.blobReader)
  scope: storage::blobs::receipts
  properties: {
    principalId: operatorsGroupId
    principalType: 'Group'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.blobReader)
  }
}

resource reportsReaders 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorsGroupId)) {
  name: guid(storage::blobs::reports.id, operatorsGroupId, role.blobReader)
  scope: storage::blobs::reports
  properties: {
    principalId: operatorsGroupId
    principalType: 'Group'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.blobReader)
  }
}
