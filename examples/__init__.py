"""Programs that use Perdure the way its users do."""
