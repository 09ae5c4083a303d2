metadata name = 'Identity'
metadata description = 'The one managed identity that Mailferry acts as: towards Azure, and towards Microsoft Graph.'

@description('Required. Its name, which is also what it is called in Entra.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('Resource ID.')
output id string = identity.id

@description('Client ID, also called application ID.')
output clientId string = identity.properties.clientId

@description('Object ID of the service principal.')
output principalId string = identity.properties.principalId
